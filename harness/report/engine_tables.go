package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// engineSection is the newest comparison as the page shows it.
type engineSection struct {
	Path     string
	Result   *EngineResult
	Older    int
	Loads    []*table // one per number of appenders
	Fill     *table
	Large    *table // nil: the run had none
	Targets  *table
	Verdict  string
	Machine  string
	Versions string
	Cautions []string
}

// engineWanted is how the page speaks of a target.
type engineWanted struct {
	label string
	least bool // the bound is the least, else the most
	write func(float64) string
}

func times(v float64) string { return significant(v) + "×" }

// engineTargets are the targets by their names in the file. One that is not
// here is shown under its own name, its bound without a direction.
var engineTargets = map[string]engineWanted{
	"ratio_vs_pebble_64":            {"durable messages per second against Pebble's, 64 appenders", true, times},
	"ratio_vs_pebble_1024":          {"durable messages per second against Pebble's, 1,024 appenders", true, times},
	"p50_vs_pebble_64":              {"ack p50 against Pebble's, 64 appenders", false, times},
	"p99_vs_pebble_64":              {"ack p99 against Pebble's, 64 appenders", false, times},
	"cpu_vs_pebble":                 {"CPU per message against Pebble's, all work included", false, times},
	"write_amplification":           {"write amplification", false, significant},
	"write_amplification_vs_pebble": {"write amplification against Pebble's", false, times},
	"disk_bytes_per_message":        {"disk per message", false, size},
	"page_warm_us":                  {"warm page p50", false, micros},
	"page_cold_us":                  {"cold page p50", false, micros},
	"page_cold_vs_pebble":           {"cold page p50 against Pebble's", false, times},
	"bytes_per_user":                {"resident per user", false, size},
	"reopen_s_per_gb":               {"reopening, per GB", false, seconds},
}

// met: a figure of 0 was not measured, and what was not measured hits nothing.
func (w engineWanted) met(value, bound float64) bool {
	if w.least {
		return value >= bound
	}
	return value > 0 && value <= bound
}

func seconds(s float64) string { return micros(s * 1e6) }

// engineOf prepares the newest result; nil if there is none.
func engineOf(inputs []EngineInput) *engineSection {
	newest, older := newestEngine(inputs)
	if newest == nil {
		return nil
	}
	r := newest.Result
	section := &engineSection{
		Path: newest.Path, Result: r, Older: older,
		Loads: engineLoads(r), Fill: engineFill(r), Large: engineLarge(r),
		Machine: strings.Join([]string{
			text(r.CPU), positive(r.CPUs) + " cores", text(r.Go),
			text(r.Filesystem) + " with fdatasync of 4 KiB p50 " + recorded(r.FsyncP50, micros),
		}, ", "),
	}
	section.Targets, section.Verdict = engineVerdicts(r)
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
	caution(!r.ThroughRaft, "the engine's messages did not go through raft")
	caution(!r.Compression, "the stores did not compress")
	caution(section.Large == nil, "there was no large run")
	return section
}

// engineLoads has a table for each number of appenders, the least first; its
// figures are medians over the rounds.
func engineLoads(r *EngineResult) []*table {
	byAppenders := map[int][]*engineLoop{}
	for i := range r.Stores {
		for appenders, loop := range loopsOf(&r.Stores[i]) {
			byAppenders[appenders] = append(byAppenders[appenders], loop)
		}
	}
	var tables []*table
	for _, appenders := range slices.Sorted(maps.Keys(byAppenders)) {
		t := &table{Caption: integer(appenders) + " appenders", Head: []string{"Store", "Rounds", "Durable/s", "Ack p50", "Ack p99", "CPU per message"}}
		if appenders == 1 {
			t.Caption = "One appender"
		}
		harness, measured := engineHarness(r, appenders)
		for _, loop := range byAppenders[appenders] {
			cpu := absent
			if own := median(loop.cpu); measured && own > 0 {
				cpu = micros(max(own-harness, 0))
			}
			t.Rows = append(t.Rows, []string{
				text(loop.store), integer(len(loop.perSecond)), recorded(median(loop.perSecond), significant),
				recorded(median(loop.p50), micros), recorded(median(loop.p99), micros), cpu,
			})
		}
		if measured {
			t.Note = fmt.Sprintf("The harness alone: %s of CPU per message, subtracted.", micros(harness))
		}
		tables = append(tables, t)
	}
	return tables
}

// engineLoop is what one store did with so many appenders, round by round.
type engineLoop struct {
	store                    string
	perSecond, p50, p99, cpu []float64
}

func loopsOf(s *EngineStore) map[int]*engineLoop {
	loops := map[int]*engineLoop{}
	for _, round := range s.Rounds {
		for _, l := range round {
			loop := loops[l.Appenders]
			if loop == nil {
				loop = &engineLoop{store: s.Name}
				loops[l.Appenders] = loop
			}
			loop.perSecond, loop.p50 = append(loop.perSecond, l.PerSecond), append(loop.p50, l.P50)
			loop.p99, loop.cpu = append(loop.p99, l.P99), append(loop.cpu, l.CPU)
		}
	}
	return loops
}

// engineHarness is the CPU per message of the loops themselves.
func engineHarness(r *EngineResult, appenders int) (us float64, measured bool) {
	at := slices.IndexFunc(r.Harness, func(l EngineLoad) bool { return l.Appenders == appenders })
	if at < 0 || !plausible(r.Harness[at].CPU) {
		return 0, false
	}
	return r.Harness[at].CPU, true
}

// engineFill leaves out stores that took no part in it.
func engineFill(r *EngineResult) *table {
	t := &table{Caption: "The fill, settled and then opened again", Head: []string{
		"Store", "Messages", "Filled/s", "CPU per message", "Disk per message", "Write amp", "Device amp", "Resident", "Peak",
		"Reopened in", "Cold page p50", "Cold page p99", "Warm page p50", "Warm page p99",
	}}
	for _, s := range r.Stores {
		if s.Messages == 0 {
			continue
		}
		t.Rows = append(t.Rows, []string{
			text(s.Name), count(s.Messages), recorded(s.FillPerSecond, significant), recorded(s.CPU, micros), recorded(s.DiskPerMessage, size),
			recorded(s.WriteAmplification, significant), recorded(s.DeviceBytes/(float64(s.Messages)*engineTextBytes), significant),
			recorded(s.RSSBytes, size), recorded(s.PeakRSSBytes, size), recorded(s.Reopen, seconds),
			recorded(s.PageColdP50, micros), recorded(s.PageColdP99, micros), recorded(s.PageWarmP50, micros), recorded(s.PageWarmP99, micros),
		})
	}
	return t
}

// engineLarge is nil if the run had no such part.
func engineLarge(r *EngineResult) *table {
	l := &r.Large
	if l.Users == 0 {
		return nil
	}
	gigabytes := func(b float64) string { return significant(b/1e9) + " GB" }
	return &table{
		Caption: "The large run, of the engine alone",
		Head:    []string{"Users", "Resident per user", "Resident", "Messages", "Disk", "Of it log", "Reopened in", "Reopened per GB", "Resident then"},
		Rows: [][]string{{
			count(l.Users), recorded(r.BytesPerUser, size), recorded(l.RSSBytes, size), count(l.Messages), recorded(l.DiskBytes, gigabytes),
			recorded(l.WALBytes, gigabytes), recorded(l.Reopen, seconds), recorded(r.ReopenPerGB, seconds), recorded(l.ReopenedBytes, size),
		}},
	}
}

// engineVerdicts is the table of targets, and how many were hit.
func engineVerdicts(r *EngineResult) (t *table, verdict string) {
	t = &table{Caption: "Targets of the design", Head: []string{"Target", "Measured", "Wanted", "Verdict"}}
	hits := 0
	for _, x := range r.Targets {
		wanted, known := engineTargets[x.Name]
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
		measured := recorded(x.Value, wanted.write)
		if measured == recorded(x.Bound, wanted.write) { // perhaps by rounding alone
			if x.Value < x.Bound {
				measured += ", a little less"
			} else if x.Value > x.Bound {
				measured += ", a little more"
			}
		}
		t.Rows = append(t.Rows, []string{wanted.label, measured, bound, word})
	}
	return t, fmt.Sprintf("%d of %d targets are hit", hits, len(r.Targets))
}
