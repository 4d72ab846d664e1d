package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// edgeSection is the newest comparison as the page shows it.
type edgeSection struct {
	Path     string
	Result   *EdgeResult
	Older    int
	Echoes   []*table // one per case
	Memory   *table
	Pushes   *table
	Targets  *table
	Verdict  string
	Machine  string
	Versions string
	Cautions []string
}

// edgeTargets are the targets by their names in the file, as engineTargets.
var edgeTargets = map[string]engineWanted{
	"rss_per_idle_session":        {"user-space memory per idle authenticated session", false, byteCount},
	"rss_per_held_poll":           {"user-space memory per held long-poll", false, byteCount},
	"rss_last_step_vs_first":      {"the same of the last step of sessions against the first", false, times},
	"rss_poll_last_step_vs_first": {"the same of the last step of polls against the first", false, times},
	"gc_ms":                       {"a full garbage collection with the most sessions", false, func(ms float64) string { return micros(ms * 1e3) }},
	"echo_vs_floor":               {"CPU per echo against the floor's", false, times},
	"echo_vs_gws":                 {"CPU per echo against gws's", false, times},
	"echo_vs_floor_most_active":   {"CPU per echo against the floor's, the most active", false, times},
	"echo_vs_gws_most_active":     {"CPU per echo against gws's, the most active", false, times},
	"pipelined16_vs_gws":          {"CPU per echo against gws's, 16 at a time", false, times},
	"allocs_per_message":          {"allocations per message, the process's own included", false, significant},
	"copied_per_byte":             {"bytes copied on the way in per byte received", false, significant},
	"push_flood_vs_gws":           {"deliveries per second of a flood against gws's", true, times},
	"push_p50_vs_gws":             {"p50 of single pushes at 10,000/s against gws's", false, times},
	"push_p99_vs_gws":             {"p99 of single pushes at 10,000/s against gws's", false, times},
	"broadcast_vs_gws":            {"CPU per delivery of a broadcast against gws's Broadcaster", false, times},
}

// byteCount is not in KiB: the targets are about single bytes.
func byteCount(v float64) string { return significant(v) + " B" }

// edgeMet: unlike the engine's, a figure that was not measured is null, and 0 is
// a good one.
func edgeMet(w engineWanted, t EdgeTarget) bool {
	switch {
	case t.Value == nil:
		return false
	case w.least:
		return *t.Value >= t.Bound
	}
	return *t.Value <= t.Bound
}

// written is for figures in which null means that nobody measured.
func written(v *float64, write func(float64) string) string {
	if v == nil {
		return absent
	}
	return write(*v)
}

// edgeOf prepares the newest result; nil if there is none.
func edgeOf(inputs []EdgeInput) *edgeSection {
	newest, older := newestEdge(inputs)
	if newest == nil {
		return nil
	}
	r := newest.Result
	section := &edgeSection{
		Path: newest.Path, Result: r, Older: older,
		Echoes: edgeEchoes(r), Memory: edgeMemory(r), Pushes: edgePushes(r),
		Machine: strings.Join([]string{text(r.CPU), positive(r.CPUs) + " cores", text(r.Go), "Linux " + text(r.Kernel)}, ", "),
	}
	section.Targets, section.Verdict = edgeVerdicts(r)
	var versions []string
	for _, path := range slices.Sorted(maps.Keys(r.Versions)) {
		versions = append(versions, clean(path, 200)+" "+text(r.Versions[path]))
	}
	section.Versions = text(strings.Join(versions, ", "))
	caution := func(is bool, what string) {
		if is {
			section.Cautions = append(section.Cautions, what)
		}
	}
	caution(strings.HasSuffix(r.Commit, "-dirty"), "the source had uncommitted changes")
	caution(r.Commit == "unknown", "the commit was not recorded")
	for _, name := range slices.Sorted(maps.Keys(r.Reasons)) {
		caution(true, clean(name, 80)+" was not measured: "+text(r.Reasons[name]))
	}
	return section
}

// edgeCase orders the tables: single messages first, then by the active.
type edgeCase struct{ pipelined, active int }

func (c edgeCase) compare(d edgeCase) int {
	return cmp.Or(cmp.Compare(c.pipelined, d.pipelined), cmp.Compare(c.active, d.active))
}

// edgeEchoes has a table for each case; its figures are medians over the rounds.
func edgeEchoes(r *EdgeResult) (tables []*table) {
	byCase := map[edgeCase]*table{}
	for _, s := range r.Servers {
		for _, e := range s.Echo {
			c := edgeCase{e.Pipelined, e.Active}
			t := byCase[c]
			if t == nil {
				t = &table{
					Caption: integer(e.Active) + " active, one message at a time",
					Head:    []string{"Server", "Rounds", "Echoes/s", "CPU per message", "Least and most of a round", "System calls per message"},
				}
				if e.Pipelined != 1 {
					t.Caption = fmt.Sprintf("%s active, %s messages in one write", integer(e.Active), integer(e.Pipelined))
				}
				byCase[c] = t
			}
			calls := absent
			if e.Pipelined == 1 && e.Active == s.Echo[0].Active { // the case in which they were counted
				calls = written(s.Calls, significant)
			}
			t.Rows = append(t.Rows, []string{
				text(s.Name), integer(len(e.CPU)), recorded(median(e.PerSecond), significant), recorded(median(e.CPU), micros),
				recorded(slices.Min(e.CPU), micros) + " – " + recorded(slices.Max(e.CPU), micros), calls,
			})
		}
	}
	for _, c := range slices.SortedFunc(maps.Keys(byCase), edgeCase.compare) {
		tables = append(tables, byCase[c])
	}
	return tables
}

func edgeMemory(r *EdgeResult) *table {
	t := &table{Caption: "Memory of idle connections", Head: []string{"Server", "Connections", "Each", "In all, with the most"}}
	for _, s := range r.Servers {
		for _, m := range s.Memory {
			most, bytes := 0, 0.0
			for _, p := range m.Points {
				if p.Connections > most {
					most, bytes = p.Connections, p.RSSBytes
				}
			}
			t.Rows = append(t.Rows, []string{text(s.Name), positive(most) + " " + text(m.Kind), written(m.Each, byteCount), recorded(bytes, size)})
		}
	}
	return t
}

func edgePushes(r *EdgeResult) *table {
	t := &table{
		Caption: fmt.Sprintf("Pushes of %s bytes to %s sessions", positive(r.PushBytes), positive(r.Sessions)),
		Head:    []string{"Server", "Push", "Rounds", "Delivered/s", "CPU per delivery", "p50", "p99"},
	}
	for _, s := range r.Servers {
		for _, p := range s.Push {
			p50, p99 := absent, absent
			if len(p.P50) > 0 {
				p50, p99 = recorded(median(p.P50), micros), recorded(median(p.P99), micros)
			}
			t.Rows = append(t.Rows, []string{
				text(s.Name), text(p.Kind), integer(len(p.CPU)), recorded(median(p.PerSecond), significant), recorded(median(p.CPU), micros), p50, p99,
			})
		}
	}
	return t
}

// edgeVerdicts is the table of targets, and how many were hit.
func edgeVerdicts(r *EdgeResult) (t *table, verdict string) {
	t = &table{Caption: "Targets of the design", Head: []string{"Target", "Measured", "Least and most of a round", "Wanted", "Verdict"}}
	hits := 0
	for _, x := range r.Targets {
		wanted, known := edgeTargets[x.Name]
		if !known {
			wanted = engineWanted{label: text(x.Name), write: significant}
		}
		bound := recorded(x.Bound, wanted.write)
		switch {
		case known && wanted.least:
			bound = "at least " + bound
		case known:
			bound = "at most " + bound
		}
		word := "MISS"
		if x.Hit {
			word = "hit"
			hits++
		}
		measured := written(x.Value, wanted.write)
		if x.Value != nil && measured == recorded(x.Bound, wanted.write) { // perhaps by rounding alone
			if *x.Value < x.Bound {
				measured += ", a little less"
			} else if *x.Value > x.Bound {
				measured += ", a little more"
			}
		}
		spread := absent
		if s, there := r.Spread[x.Name]; there {
			spread = wanted.write(s.Low) + " – " + wanted.write(s.High)
		}
		t.Rows = append(t.Rows, []string{wanted.label, measured, spread, bound, word})
	}
	return t, fmt.Sprintf("%d of %d targets are hit", hits, len(r.Targets))
}
