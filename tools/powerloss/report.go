package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// examplesMax bounds the violations that are told in full.
const examplesMax = 20

// report is what came of a run. It names nothing of the machine but its kernel.
type report struct {
	Kernel      string         `json:"kernel"`
	Commit      string         `json:"commit,omitempty"`
	Filesystems []string       `json:"filesystems"`
	Seed        uint64         `json:"seed"`
	Seconds     float64        `json:"seconds"`
	Complete    bool           `json:"complete"` // the run came to its end
	Total       total          `json:"total"`
	Violations  map[string]int `json:"violations"`
	Examples    []string       `json:"examples,omitempty"`
	Failing     []failing      `json:"failing_disks"`
	Controls    []control      `json:"controls"`
	Verdict     string         `json:"verdict"`
}

// total counts over all rounds and failing disks; controls do not count but for
// their sound lives.
type total struct {
	Rounds        int               `json:"rounds"`
	Lives         int               `json:"lives"`
	PowerFailures int               `json:"power_failures"`
	Cuts          map[string]int    `json:"power_failures_after"`
	Proposed      uint64            `json:"proposed"`
	Acked         uint64            `json:"acked"`
	Read          uint64            `json:"entries_read_back"`
	Erased        uint64            `json:"erasures_acked"`
	Stats         stats             `json:"-"`
	Counters      map[string]uint64 `json:"counters"`
}

// failing is a life whose disk failed.
type failing struct {
	Name      string `json:"name"`
	Acked     uint64 `json:"acked"`
	AckedLate uint64 `json:"acked_after_the_stop"` // of entries synced before
	Stopped   bool   `json:"stopped"`
	Error     string `json:"error"`
}

// control is a planted fault.
type control struct {
	Name       string         `json:"name"`
	Caught     bool           `json:"caught"`
	Tries      int            `json:"tries"`
	Violations map[string]int `json:"violations"`
	Example    string         `json:"example"`
}

func newReport(o *options, kernel string) *report {
	r := &report{
		Kernel: kernel, Commit: o.Commit, Filesystems: o.Filesystems, Seed: o.Seed,
		Violations: map[string]int{},
	}
	for _, kind := range kinds {
		r.Violations[kind] = 0
	}
	r.Total.Cuts = map[string]int{}
	return r
}

// note counts a life.
func (r *report) note(name string, h heard) {
	t := &r.Total
	t.Lives++
	t.Proposed += h.proposed
	t.Acked += h.acked
	t.Read += h.read
	t.Erased += h.erased
	for i, n := range h.stats {
		t.Stats[i] += n
	}
	for _, v := range h.violations {
		r.Violations[v.kind]++
		if len(r.Examples) < examplesMax {
			r.Examples = append(r.Examples, fmt.Sprintf("%s: %s: %s", name, v.kind, v.text))
		}
	}
}

func countKinds(violations []violation) map[string]int {
	n := map[string]int{}
	for _, v := range violations {
		n[v.kind]++
	}
	return n
}

func (r *report) violations() (n int) {
	for _, c := range r.Violations {
		n += c
	}
	return n
}

// eventfulRounds: in so many rounds everything the engine does must have
// happened, or the run was not about it.
const eventfulRounds = 5

// judge fills in the verdict; passed tells whether it is good.
func (r *report) judge() (passed bool) {
	r.Total.Counters = map[string]uint64{}
	var missing []string
	for i, name := range statNames {
		r.Total.Counters[name] = r.Total.Stats[i]
		if r.Total.Stats[i] == 0 && i != statStalls {
			missing = append(missing, name)
		}
	}
	uncaught := slices.DeleteFunc(slices.Clone(r.Controls), func(c control) bool { return c.Caught })
	switch {
	case r.violations() > 0:
		r.Verdict = "FAILED: the store did what it must not"
	case len(uncaught) > 0 || r.Complete && len(r.Controls) == 0:
		r.Verdict = "FAILED: a planted fault was not caught, so the run proves nothing"
	case !r.Complete:
		r.Verdict = "INCOMPLETE: the run was ended before its end"
	case r.Total.Acked == 0 || r.Total.Rounds >= eventfulRounds && len(missing) > 0:
		r.Verdict = "FAILED: these never happened: " + strings.Join(missing, ", ")
	default:
		r.Verdict = "PASSED"
		return true
	}
	return false
}

// write writes the report for people.
func (r *report) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("Power loss on real file systems: %s", r.Verdict)
	p("")
	p("Linux %s, %s, seed %d, commit %s, %.0f s", r.Kernel, strings.Join(r.Filesystems, " and "), r.Seed, r.Commit, r.Seconds)
	t := r.Total
	p("%d rounds, %d lives, %d power failures (%s)", t.Rounds, t.Lives, t.PowerFailures, describe(t.Cuts, slices.Sorted(maps.Keys(t.Cuts)), "after "))
	p("%d entries proposed, %d acknowledged before the power failed, %d read back", t.Proposed, t.Acked, t.Read)
	p("%d erasures acknowledged", t.Erased)
	for i, name := range statNames {
		p("  %-15s %d", name, t.Stats[i])
	}
	p("")
	p("Violations: %d", r.violations())
	for _, kind := range kinds {
		p("  %-13s %d", kind, r.Violations[kind])
	}
	for _, e := range r.Examples {
		p("  %s", e)
	}
	p("")
	p("Failing disks:")
	for _, f := range r.Failing {
		p("  %s: stopped %t after %d acknowledgements: %s", f.Name, f.Stopped, f.Acked, f.Error)
	}
	p("")
	p("Planted faults, which must be caught:")
	for _, c := range r.Controls {
		p("  %s: caught %t (%s), such as %s", c.Name, c.Caught, describe(c.Violations, kinds, ""), c.Example)
	}
	p("")
	p("powerloss: rounds=%d lives=%d acked=%d lost=%d phantom=%d violations=%d controls=%d/%d",
		t.Rounds, t.Lives, t.Acked, r.Violations[kindLost], r.Violations[kindPhantom], r.violations(), r.caught(), len(r.Controls))
}

func (r *report) caught() (n int) {
	for _, c := range r.Controls {
		if c.Caught {
			n++
		}
	}
	return n
}

// describe lists what is not 0.
func describe(counts map[string]int, order []string, prefix string) string {
	var parts []string
	for _, name := range order {
		if counts[name] > 0 {
			parts = append(parts, fmt.Sprintf("%s%s %d", prefix, name, counts[name]))
		}
	}
	return strings.Join(parts, ", ")
}

// save writes the report to path and, as JSON, beside it.
func (r *report) save(path string) error {
	var text strings.Builder
	r.write(&text)
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(path, filepath.Ext(path))+".json", append(data, '\n'), 0o644)
}
