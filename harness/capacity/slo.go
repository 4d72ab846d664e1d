package capacity

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-im/godwit/harness/result"
)

// SLO is what a rate must keep to be sustainable: every condition of it.
type SLO []condition

// condition compares one metric with a bound: a duration for latencies, for
// counts a number or a share of what was due.
type condition struct {
	metric  string
	orEqual bool // <= and =
	less    bool // < and <=
	bound   float64
	share   bool   // bound is a share of the operations due, 0…1
	text    string // as written
}

// latencyMetrics read a distribution, in microseconds.
var latencyMetrics = map[string]func(l *result.Latency) float64{
	"mean":   func(l *result.Latency) float64 { return l.Mean },
	"p50":    func(l *result.Latency) float64 { return l.P50 },
	"p90":    func(l *result.Latency) float64 { return l.P90 },
	"p99":    func(l *result.Latency) float64 { return l.P99 },
	"p99.9":  func(l *result.Latency) float64 { return l.P999 },
	"p99.99": func(l *result.Latency) float64 { return l.P9999 },
	"max":    func(l *result.Latency) float64 { return l.Max },
}

// countMetrics read how often something went wrong.
var countMetrics = map[string]func(o *Outcome) uint64{
	"loss":       func(o *Outcome) uint64 { return o.Lost },
	"duplicates": func(o *Outcome) uint64 { return o.Duplicated },
	"disorder":   func(o *Outcome) uint64 { return o.Reordered },
	"refused":    func(o *Outcome) uint64 { return o.Refused },
	"unknown":    func(o *Outcome) uint64 { return o.Unknown },
	"late":       func(o *Outcome) uint64 { return o.Late },
}

// Metrics names what an SLO may hold, for help texts.
const Metrics = "mean, p50, p90, p99, p99.9, p99.99, max (durations); loss, duplicates, disorder, refused, unknown, late (counts, or % of what was due)"

// ParseSLO reads conditions like "p99<200ms,loss=0,refused<=0.1%".
func ParseSLO(text string) (SLO, error) {
	var slo SLO
	for part := range strings.SplitSeq(text, ",") {
		c, err := parseCondition(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("slo %q: %w", part, err)
		}
		slo = append(slo, c)
	}
	if !slices.ContainsFunc(slo, func(c condition) bool { return latencyMetrics[c.metric] != nil }) {
		return nil, fmt.Errorf("slo %q: it bounds no latency; without one an overloaded server that only queues would keep it", text)
	}
	return slo, nil
}

func parseCondition(text string) (condition, error) {
	at := strings.IndexAny(text, "<=")
	if at < 0 {
		return condition{}, fmt.Errorf("a condition is like p99<200ms or loss=0")
	}
	c := condition{metric: strings.TrimSpace(text[:at]), text: text}
	value := text[at:]
	switch {
	case strings.HasPrefix(value, "<="):
		c.less, c.orEqual, value = true, true, value[2:]
	case value[0] == '<':
		c.less, value = true, value[1:]
	default:
		c.orEqual, value = true, value[1:]
	}
	value = strings.TrimSpace(value)
	switch {
	case latencyMetrics[c.metric] != nil:
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || !c.less {
			return condition{}, fmt.Errorf("a latency is bounded from above by a duration, as in p99<200ms")
		}
		c.bound = float64(d) / float64(time.Microsecond)
	case countMetrics[c.metric] != nil:
		digits, percent := strings.CutSuffix(value, "%")
		bound, err := strconv.ParseFloat(digits, 64)
		switch {
		case err != nil || math.IsNaN(bound) || math.IsInf(bound, 0) || bound < 0 || percent && bound > 100:
			return condition{}, fmt.Errorf("%q is neither a count nor a percentage", value)
		case !c.orEqual && bound == 0:
			return condition{}, fmt.Errorf("nothing is below 0")
		case !c.less && bound != 0:
			return condition{}, fmt.Errorf("= stands with 0 only; write <= for a bound")
		}
		c.bound, c.share = bound, percent
		if percent {
			c.bound /= 100
		}
	default:
		return condition{}, fmt.Errorf("%q is not measured; there are %s", c.metric, Metrics)
	}
	return c, nil
}

// String returns the SLO as it was written.
func (s SLO) String() string {
	parts := make([]string, len(s))
	for i, c := range s {
		parts[i] = c.text
	}
	return strings.Join(parts, ",")
}

// Unmet says which conditions the outcome breaks; none: it keeps the SLO. An
// outcome without measured operations keeps nothing.
func (s SLO) Unmet(o *Outcome) []string {
	if o.Latency.Count == 0 || o.Due == 0 {
		return []string{"no operation was measured"}
	}
	var broken []string
	for _, c := range s {
		got, shown := 0.0, ""
		if read := latencyMetrics[c.metric]; read != nil {
			got = read(&o.Latency)
			shown = time.Duration(got * float64(time.Microsecond)).Round(10 * time.Microsecond).String()
		} else {
			n := countMetrics[c.metric](o)
			got, shown = float64(n), strconv.FormatUint(n, 10)
			if c.share {
				got /= float64(o.Due)
				shown = fmt.Sprintf("%.3g%%", got*100)
			}
		}
		if got < c.bound || c.orEqual && got == c.bound {
			continue
		}
		broken = append(broken, fmt.Sprintf("%s is %s, want %s", c.metric, shown, c.text))
	}
	return broken
}
