package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// edgeFormat is the file of bench/edge, whose module this one can't import: the
// structs below are a second reading of what it writes, as those of the engine.
const (
	edgeFormat = edgeFamily + "v1"
	edgeFamily = "godwit-bench-edge/"
)

// EdgeInput is a comparison of the connection edge with its peers, and the place
// of its file as the page links to it.
type EdgeInput struct {
	Path   string
	Result *EdgeResult
}

// EdgeResult is what a full run of bench/edge leaves behind. Times are µs,
// amounts bytes, unless a name says otherwise; null was not measured.
type EdgeResult struct {
	Format    string                `json:"format"`
	Command   string                `json:"command"`
	Commit    string                `json:"commit"`
	Started   string                `json:"started"`
	Go        string                `json:"go"`
	CPU       string                `json:"cpu"`
	CPUs      int                   `json:"cpus"`
	Kernel    string                `json:"kernel"`
	Versions  map[string]string     `json:"versions"`
	Sessions  int                   `json:"sessions"` // in the rounds of pushes
	PushBytes int                   `json:"push_bytes"`
	Collected int                   `json:"gc_sessions"`
	Servers   []EdgeServer          `json:"servers"` // the edge first, then the floor
	Targets   []EdgeTarget          `json:"targets"`
	Spread    map[string]EdgeSpread `json:"spread"`
	Reasons   map[string]string     `json:"reasons"` // why a figure is null
}

// EdgeServer is one server's part; a slice by round is empty if it took none.
type EdgeServer struct {
	Name   string       `json:"name"`
	Memory []EdgeMemory `json:"memory"`
	Echo   []EdgeEcho   `json:"echo"`
	Push   []EdgePush   `json:"push"`
	Calls  *float64     `json:"syscalls_per_message"`
}

// EdgeMemory is what idle connections of one kind take.
type EdgeMemory struct {
	Kind   string   `json:"kind"`
	Each   *float64 `json:"rss_bytes_each"`
	Points []struct {
		Connections int     `json:"connections"`
		RSSBytes    float64 `json:"rss_bytes"`
	} `json:"points"`
}

// EdgeEcho is a closed loop of so many connections, by round.
type EdgeEcho struct {
	Active    int       `json:"active"`
	Pipelined int       `json:"pipelined"`
	PerSecond []float64 `json:"per_s"`
	CPU       []float64 `json:"cpu_us_per_message"`
}

// EdgePush is one kind of push to idle sessions, by round.
type EdgePush struct {
	Kind      string    `json:"kind"`
	PerSecond []float64 `json:"per_s"`
	CPU       []float64 `json:"cpu_us_per_message"`
	P50       []float64 `json:"p50_us"`
	P99       []float64 `json:"p99_us"`
}

// EdgeTarget is a figure and what the design wants of it.
type EdgeTarget struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"`
	Bound float64  `json:"bound"`
	Hit   bool     `json:"hit"`
}

// EdgeSpread says how far the rounds lay apart.
type EdgeSpread struct {
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`
}

// decodeEdge parses and checks a file's text.
func decodeEdge(text []byte) (*EdgeResult, error) {
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("this is no JSON of an edge comparison: %w", err)
	}
	if head.Format != edgeFormat {
		return nil, fmt.Errorf("the file's format is %q, this godwit reads %q only", clean(head.Format, 80), edgeFormat)
	}
	r := new(EdgeResult)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("this is no result of the format %s: %w", edgeFormat, err)
	}
	return r, r.validate()
}

// validate says what can't be true of the file: it was damaged or written by
// hand.
func (r *EdgeResult) validate() error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if at, err := time.Parse(time.RFC3339, r.Started); err != nil || at.UTC().Format(time.RFC3339) != r.Started {
		complain("started: %q is no time like 2006-01-02T15:04:05Z", clean(r.Started, 80))
	}
	if !engineCommit.MatchString(r.Commit) {
		complain("commit: %q is no commit", clean(r.Commit, 80))
	}
	if len(r.Servers) == 0 || len(r.Targets) == 0 {
		complain("there are %d servers and %d targets: nothing was compared", len(r.Servers), len(r.Targets))
	}
	names := map[string]bool{}
	for _, s := range r.Servers {
		if s.Name == "" || names[s.Name] {
			complain("servers: the name %q is empty or stands twice", clean(s.Name, 80))
		}
		names[s.Name] = true
		if len(s.Echo) == 0 {
			complain("servers, %s: it echoed nothing", clean(s.Name, 80))
		}
		for _, e := range s.Echo {
			if len(e.CPU) == 0 || len(e.CPU) != len(e.PerSecond) {
				complain("servers, %s: %d and %d rounds of one case", clean(s.Name, 80), len(e.CPU), len(e.PerSecond))
			}
		}
		for _, p := range s.Push {
			if len(p.CPU) == 0 || len(p.CPU) != len(p.PerSecond) || len(p.P50) != len(p.P99) {
				complain("servers, %s: %d and %d rounds of one kind of push", clean(s.Name, 80), len(p.CPU), len(p.PerSecond))
			}
		}
	}
	for _, t := range r.Targets {
		if wanted, known := edgeTargets[t.Name]; known && edgeMet(wanted, t) != t.Hit {
			complain("targets, %s: hit is %v, which the value against %g is not", t.Name, t.Hit, t.Bound)
		}
	}
	return errors.Join(problems...)
}

// newestEdge returns the result that started last and how many others there
// are; of one moment the first by its file, whatever the order of the inputs.
func newestEdge(inputs []EdgeInput) (newest *EdgeInput, older int) {
	if len(inputs) == 0 {
		return nil, 0
	}
	first := slices.MinFunc(inputs, func(a, b EdgeInput) int {
		return cmp.Or(strings.Compare(b.Result.Started, a.Result.Started), strings.Compare(a.Path, b.Path)) // UTC sorts as text
	})
	return &first, len(inputs) - 1
}
