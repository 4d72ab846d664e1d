package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// result is what came of a run. Its JSON is one line for scripts.
type result struct {
	Edges    int     `json:"edges"`
	Sessions int     `json:"sessions"` // of all edges together
	Rate     float64 `json:"rate_per_s"`
	Router   string  `json:"router"`
	findings
	// Faults says how often each fault was done.
	Faults map[string]int `json:"faults"`
	// BackP99 and BackMax are how long after an edge was killed its sessions were
	// open on another one.
	BackP99 float64 `json:"back_p99_ms"`
	BackMax float64 `json:"back_max_ms"`
	// Operations of the directory, as it counts them itself.
	OpsPerDelivered float64  `json:"tikv_ops_per_delivered"` // without faults
	OpsPerUser      float64  `json:"tikv_ops_per_user"`      // of those who came back after the kill
	Phases          []phase  `json:"phases"`
	Missed          []string `json:"missed,omitempty"` // bounds that were not kept
	Pass            bool     `json:"passed"`

	begun   time.Time
	commit  string
	command string
	machine string
}

// phase is one part of the campaign.
type phase struct {
	Name      string         `json:"name"`
	Seconds   float64        `json:"seconds"`
	Offered   int            `json:"offered"`
	Acked     int            `json:"acked"`
	Delivered int            `json:"delivered"`
	P50       float64        `json:"p50_ms"` // of a delivery, since it was to be sent
	P99       float64        `json:"p99_ms"`
	Max       float64        `json:"max_ms"`
	Ops       int            `json:"tikv_ops"` // requests to the store
	PD        int            `json:"pd_ops"`   // to its placement driver: mostly timestamps
	Kinds     map[string]int `json:"tikv_ops_by_kind,omitempty"`
	Note      string         `json:"note,omitempty"`
}

// Bounds that a run must keep.
const (
	backMax         = 15 * time.Second
	opsPerUserMax   = 3
	opsPerDelivered = 0.01
	sendsGoOn       = 0.9 // of what is offered during a fault of the directory is acknowledged
)

func newResult(o options) *result {
	return &result{
		Edges: o.Edges, Sessions: o.Edges * o.Sessions, Rate: o.Rate, Router: o.Router, begun: time.Now(),
		Faults: map[string]int{"kill_edge": 0, "tikv_outage": 0, "tikv_slow": 0},
	}
}

// missed notes a bound that was not kept.
func (r *result) missed(format string, args ...any) {
	r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
}

// unless is missed, unless ok.
func (r *result) unless(ok bool, format string, args ...any) {
	if !ok {
		r.missed(format, args...)
	}
}

// Passed reports whether every promise and every bound was kept.
func (r *result) Passed() bool { return r.findings.ok() && len(r.Missed) == 0 && r.Delivered > 0 }

func (r *result) line() string {
	r.Pass = r.Passed()
	b, err := json.Marshal(r)
	if err != nil {
		panic("BUG: a result that is not JSON: " + err.Error())
	}
	return string(b)
}

// quantile of sorted values; 0 of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// write writes the report for people.
func (r *result) write(w io.Writer) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n%d edges, %d sessions, %g messages/s, directory %s\n\n", r.Edges, r.Sessions, r.Rate, r.Router)
	fmt.Fprintf(&b, "%-14s %7s %8s %8s %10s %9s %9s %9s %8s %8s\n", "phase", "s", "offered", "acked", "delivered", "p50 ms", "p99 ms", "max ms", "tikv", "pd")
	for i := range r.Phases {
		p := &r.Phases[i]
		fmt.Fprintf(&b, "%-14s %7.1f %8d %8d %10d %9.1f %9.1f %9.1f %8d %8d\n", p.Name, p.Seconds, p.Offered, p.Acked, p.Delivered, p.P50, p.P99, p.Max, p.Ops, p.PD)
		if p.Note != "" {
			fmt.Fprintf(&b, "               %s\n", p.Note)
		}
	}
	fmt.Fprintf(&b, "\nsent %d, acknowledged %d, refused %d, delivered %d\n", r.Sent, r.Acked, r.Refused, r.Delivered)
	fmt.Fprintf(&b, "lost %d, duplicated %d, reordered %d, foreign %d\n", r.Lost, r.Duplicated, r.Reordered, r.Foreign)
	fmt.Fprintf(&b, "sessions of the killed edge back on others: p99 %.0f ms, last %.0f ms (bound %s)\n", r.BackP99, r.BackMax, backMax)
	if r.Router == routerTiKV {
		fmt.Fprintf(&b, "operations of the directory: %.4f per delivered message without faults (bound %g), %.2f per user who came back (bound %d)\n", r.OpsPerDelivered, opsPerDelivered, r.OpsPerUser, opsPerUserMax)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(&b, "PROBLEM", p)
	}
	for _, m := range r.Missed {
		fmt.Fprintln(&b, "MISSED ", m)
	}
	if r.Passed() {
		fmt.Fprintln(&b, "passed")
	} else {
		fmt.Fprintln(&b, "FAILED")
	}
	_, _ = w.Write(b.Bytes())
}

// save writes the report with what it was made by.
func (r *result) save(path string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "commit:  %s\ndate:    %s\ncommand: %s\nmachine: %s\n", r.commit, r.begun.UTC().Format("2006-01-02 15:04 UTC"), r.command, r.machine)
	r.write(&b)
	return os.WriteFile(path, b.Bytes(), 0o644)
}
