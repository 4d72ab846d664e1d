package result

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	scenarioName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	commitName   = regexp.MustCompile(`^[0-9a-f]{7,64}(-dirty)?$`)
)

// stageNames in the order in which they follow each other.
var stageNames = []string{"ramp", "warm-up", "measure", "cool-down", "verify"}

func checkFormat(format string) error {
	switch {
	case format == Format:
		return nil
	case format == "":
		return fmt.Errorf("the file names no format; a load-test result begins with %q", Format)
	case strings.HasPrefix(format, "godwit-bench/"):
		return fmt.Errorf("the file's format is %q, this godwit reads %q only", format, Format)
	}
	return fmt.Errorf("the format %q is no load-test result's; it should be %q", format, Format)
}

// Validate says in sentences, joined, what can't be true of the run. It finds
// files that were damaged or written by hand, not wrong measurements.
func (r *Run) Validate() error {
	if err := checkFormat(r.Format); err != nil {
		return err
	}
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !scenarioName.MatchString(r.Scenario) {
		complain("scenario: %q is no name of small letters, digits and single dashes", r.Scenario)
	}
	if r.RunID == "" {
		complain("run_id: it is missing")
	}
	if at, err := time.Parse(time.RFC3339, r.Started); err != nil || at.UTC().Format(time.RFC3339) != r.Started {
		complain("started: %q is no time like 2006-01-02T15:04:05Z", r.Started)
	}
	if r.Commit != "" && r.Commit != "unknown" && !commitName.MatchString(r.Commit) {
		complain("commit: %q is no commit", r.Commit)
	}
	if r.Settings.Loop != "open" && r.Settings.Loop != "closed" {
		complain("settings.loop: %q is neither open nor closed", r.Settings.Loop)
	}
	if !slices.Contains([]string{"", "poisson", "uniform"}, r.Settings.Arrivals) {
		complain("settings.arrivals: %q is neither poisson nor uniform", r.Settings.Arrivals)
	}
	r.checkStages(complain)
	for _, name := range slices.Sorted(maps.Keys(r.Latencies)) {
		l := r.Latencies[name]
		l.check(func(format string, args ...any) {
			complain("latencies, %s: %s", name, fmt.Sprintf(format, args...))
		})
	}
	if c := r.Capacity; c != nil && c.Verdict != VerdictCapacity && c.Verdict != VerdictGenerator && c.Verdict != VerdictBounded && c.Verdict != VerdictDisturbed {
		complain("capacity.verdict: %q is none of %s, %s, %s, %s", c.Verdict, VerdictCapacity, VerdictGenerator, VerdictDisturbed, VerdictBounded)
	}
	if s := r.Slow; s != nil {
		s.OthersBefore.check(func(format string, args ...any) { complain("slow.others_before: "+format, args...) })
		s.ToSlow.check(func(format string, args ...any) { complain("slow.to_slow: "+format, args...) })
		s.OthersBeside.check(func(format string, args ...any) { complain("slow.others_beside: "+format, args...) })
	}
	for i := 1; i < len(r.Series); i++ {
		if r.Series[i].At <= r.Series[i-1].At {
			complain("series: second %v stands after second %v", r.Series[i].At, r.Series[i-1].At)
			break
		}
	}
	if path := badNumber(reflect.ValueOf(r).Elem(), ""); path != "" {
		complain("%s: the number is negative, infinite or none", path)
	}
	return errors.Join(problems...)
}

func (r *Run) checkStages(complain func(string, ...any)) {
	last := -1
	for _, s := range r.Stages {
		order := slices.Index(stageNames, s.Name)
		switch {
		case order < 0:
			complain("stages: %q is no stage; there are %s", s.Name, strings.Join(stageNames, ", "))
			continue
		case order <= last:
			complain("stages: %s stands after %s", s.Name, stageNames[last])
		}
		last = order
		if s.Started > s.Scheduled {
			complain("stage %s: %d operations were begun, %d were due", s.Name, s.Started, s.Scheduled)
		}
		if s.Late > s.Started {
			complain("stage %s: %d operations began late, %d began at all", s.Name, s.Late, s.Started)
		}
		if ended := s.Succeeded + s.Refused + s.Unknown; ended > s.Started {
			complain("stage %s: %d operations ended, %d were begun", s.Name, ended, s.Started)
		}
	}
}

func (l *Latency) check(complain func(string, ...any)) {
	if !slices.IsSorted([]float64{l.P50, l.P90, l.P99, l.P999, l.P9999, l.Max}) {
		complain("the percentiles don't rise from p50 to max")
	}
	if l.Mean > l.Max {
		complain("the mean is over the maximum")
	}
	var counted float64
	for i, b := range l.Buckets {
		if i > 0 && b[0] <= l.Buckets[i-1][0] {
			complain("bucket %v stands after bucket %v", b[0], l.Buckets[i-1][0])
		}
		counted += b[1]
	}
	if counted != float64(l.Count) {
		complain("the buckets hold %.0f values, the count is %d", counted, l.Count)
	}
}

// mayBeNegative are the members whose sign means something: gauges of other
// people's making.
var mayBeNegative = []string{"metrics_before", "metrics_after"}

// badNumber returns the path of the first number that JSON can't hold or that
// counts less than nothing, "" when there is none.
func badNumber(v reflect.Value, path string) string {
	switch v.Kind() {
	case reflect.Float64:
		signed := slices.Contains(mayBeNegative, strings.TrimPrefix(strings.SplitN(path, "[", 2)[0], "usage.")) ||
			strings.HasPrefix(path, "sweep.") && (strings.HasSuffix(path, ".slope") || strings.HasSuffix(path, ".intercept"))
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) || f < 0 && !signed {
			return path
		}
	case reflect.Int:
		if v.Int() < 0 && path != "settings.generator_nice" {
			return path
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return badNumber(v.Elem(), path)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if path != "" {
				name = path + "." + name
			}
			if bad := badNumber(v.Field(i), name); bad != "" {
				return bad
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if bad := badNumber(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); bad != "" {
				return bad
			}
		}
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.String {
			return ""
		}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			if bad := badNumber(v.MapIndex(key), fmt.Sprintf("%s[%s]", path, key.String())); bad != "" {
				return bad
			}
		}
	}
	return ""
}
