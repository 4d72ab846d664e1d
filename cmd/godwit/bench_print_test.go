package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/harness/result"
)

// edgesRun is a run of a server with so many edge processes.
func edgesRun(edges int) *result.Run {
	run := &result.Run{
		Scenario: "million", Settings: result.Settings{Sessions: 1000, Edges: edges},
		Stages:  []result.Stage{{Name: "measure", Seconds: 40, Scheduled: 100}},
		Edges:   &result.Edges{Crossed: 98, Within: 2},
		Sweep:   &result.Sweep{Points: []result.SweepPoint{{Sessions: 1000, MachineBytes: 3 << 30}}, User: result.Line{Slope: 1855, R2: 1}, Kernel: result.Line{Slope: 10390, Intercept: -5}},
		Targets: []result.Target{{Text: "a target within reach", Measured: "5", Met: true}, {Text: "another", Measured: "7"}},
	}
	run.Usage.ServerCPUSeconds, run.Usage.GeneratorCPUSeconds = 20, 10
	run.Usage.Processes = []result.ProcessUsage{{Name: "engine", CPUSeconds: 8, RSSBytes: 1 << 20}}
	for i := range edges {
		run.Usage.Processes = append(run.Usage.Processes, result.ProcessUsage{Name: fmt.Sprintf("node-1-%d", i+1), Sessions: 10, CPUSeconds: 4, RSSBytes: 2 << 20})
	}
	return run
}

func TestBenchPrintsProcessesCrossingsAndTargets(t *testing.T) {
	printed := func(edges int, asJSON bool) string {
		var out bytes.Buffer
		a := &app{stdout: &out, json: asJSON}
		if err := a.benchPrint(edgesRun(edges)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for edges, want := range map[int][]string{
		3:  {"engine ", "node-1-3 ", "CPU 0.100 cores"},
		56: {"engine ", "56 edges ", "560 sessions", "RSS   112.0 MiB", "CPU 5.600 cores"},
	} {
		text := printed(edges, false)
		for _, w := range append(want, "share of deliveries that crossed processes: 98.0 % (98 of 100)", "server 0.500 cores, generator 0.250 cores",
			"1855 B per session", "1.039e+04 B per session, -5 B without any", "reached 1000 sessions, 3.00 GiB", "met     a target within reach: 5", "MISSED  another: 7") {
			if !strings.Contains(text, w) {
				t.Errorf("with %d edges %q is not said in\n%s", edges, w, text)
			}
		}
		if strings.Contains(text, "node-1-56") {
			t.Error("56 processes are listed one by one")
		}
	}
	var s benchSummary
	if err := json.Unmarshal([]byte(printed(3, true)), &s); err != nil || s.Missed != 1 || len(s.Edges.Processes) != 4 || s.Edges.Share != 0.98 || s.Sweep.Kernel.Slope != 10390 || s.ServerCores != 0.5 {
		t.Errorf("%+v, %v", s, err)
	}
}
