package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// stagePackage is the benchmarks of one package, as `go test -bench` prints
// them, with the facts of the lines "key: value" above.
type stagePackage struct {
	Path  string // below the module, "" for its root
	Procs string // GOMAXPROCS, from the names' suffix; "" for 1
	Facts map[string]string
	Rows  []*stageRow
}

// stageRow is one benchmark, run one or more times.
type stageRow struct {
	Name   string
	units  []string // in the order of the output
	values map[string][]float64
}

// parseStages reads the benchmark format of Go. Lines of another kind are left
// out, as benchstat does; a damaged benchmark line is an error.
func parseStages(output []byte, module string) ([]*stagePackage, error) {
	facts := map[string]string{}
	var all []*stagePackage
	for number, line := range strings.Split(string(output), "\n") {
		if key, value, ok := factOf(line); ok {
			facts[key] = value
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		at := strings.TrimPrefix(strings.TrimPrefix(facts["pkg"], module), "/")
		if len(all) == 0 || all[len(all)-1].Path != at {
			all = append(all, &stagePackage{Path: at})
		}
		last := all[len(all)-1]
		last.Facts = cloned(facts)
		if err := last.add(fields); err != nil {
			return nil, fmt.Errorf("line %d of the stages: %w", number+1, err)
		}
	}
	slices.SortStableFunc(all, func(a, b *stagePackage) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

func cloned(facts map[string]string) map[string]string {
	c := make(map[string]string, len(facts))
	for key, value := range facts {
		c[key] = value
	}
	return c
}

// factOf takes a configuration line: a key without spaces that begins with a
// small letter, a colon, a value.
func factOf(line string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(line, ": ")
	if !ok || key == "" || key[0] < 'a' || key[0] > 'z' || strings.ContainsAny(key, " \t") {
		return "", "", false
	}
	return key, strings.TrimSpace(value), true
}

// add takes one line: name, iterations, then pairs of value and unit.
func (p *stagePackage) add(fields []string) error {
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if at := strings.LastIndexByte(name, '-'); at > 0 {
		if _, err := strconv.Atoi(name[at+1:]); err == nil {
			name, p.Procs = name[:at], name[at+1:]
		}
	}
	if len(fields)%2 != 0 {
		return fmt.Errorf("benchmark %s has a value without a unit", clean(name, 80))
	}
	if _, err := strconv.ParseUint(fields[1], 10, 64); err != nil {
		return fmt.Errorf("benchmark %s: %q is no number of iterations", clean(name, 80), clean(fields[1], 80))
	}
	at := slices.IndexFunc(p.Rows, func(r *stageRow) bool { return r.Name == name })
	if at < 0 {
		at = len(p.Rows)
		p.Rows = append(p.Rows, &stageRow{Name: name, values: map[string][]float64{}})
	}
	row := p.Rows[at]
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("benchmark %s: %q is no number", clean(name, 80), clean(fields[i], 80))
		}
		unit := fields[i+1]
		if _, known := row.values[unit]; !known {
			row.units = append(row.units, unit)
		}
		row.values[unit] = append(row.values[unit], v)
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Runs is how often the benchmark ran.
func (r *stageRow) Runs() int {
	runs := 0
	for _, values := range r.values {
		runs = max(runs, len(values))
	}
	return runs
}

// Time is the median, and how far the runs lie apart.
func (r *stageRow) Time() string {
	values := r.values["ns/op"]
	if len(values) == 0 {
		return absent
	}
	middle := median(values)
	cell := micros(middle / 1000)
	if middle < 1000 {
		cell = significant(middle) + " ns"
	}
	if len(values) > 1 && middle > 0 {
		cell += fmt.Sprintf(" ± %.0f %%", 100*(slices.Max(values)-slices.Min(values))/2/middle)
	}
	return cell
}

// Memory is the bytes and allocations of one operation.
func (r *stageRow) Memory() string {
	bytes, allocations := r.values["B/op"], r.values["allocs/op"]
	if len(bytes) == 0 || len(allocations) == 0 {
		return absent
	}
	return fmt.Sprintf("%s, %s", size(median(bytes)), significant(median(allocations)))
}

// Others are the benchmark's own figures.
func (r *stageRow) Others() string {
	var cells []string
	for _, unit := range r.units {
		if unit != "ns/op" && unit != "B/op" && unit != "allocs/op" {
			cells = append(cells, significant(median(r.values[unit]))+" "+clean(unit, 60))
		}
	}
	return strings.Join(cells, ", ")
}
