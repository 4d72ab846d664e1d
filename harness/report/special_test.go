package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/harness/result"
)

// specialRun has everything that only some scenarios have.
func specialRun() *result.Run {
	run := sampleRun()
	run.Scenario, run.About = "dm-chat-capacity", "Users in pairs write to each other."
	run.Settings.Edges, run.Settings.SDKSessions, run.Settings.Tokens = 2, 8, "hs256"
	run.SDK = &result.SDK{Sessions: 8, Offered: 389, Acked: 389, Delivered: 778, Cut: 8, Reconnects: 9}
	run.Slow = &result.Slow{Silent: 5, Asking: 6, WindowFull: 5, CutOff: 6, CloseCodes: map[string]uint64{"4202": 6, "4302": 1}, OthersBefore: sampleLatency(500, 1000), OthersBeside: sampleLatency(600, 1000)}
	run.Flap = &result.Flap{Turns: 4800, Frames: 52_000, FramesPerSMax: 1999, Quiet: sampleLatency(800, 1000), Flapping: sampleLatency(900, 1000), QuietCores: 0.25, FlappingCores: 0.75}
	run.Capacity = &result.Capacity{SLO: "p99<20ms,loss=0", Latency: "send→delivered", Rate: 41_650, Failed: 45_818, Verdict: result.VerdictCapacity, Trials: []result.CapacityTrial{
		{Phase: "step", Rate: 1000, P50: 400, P99: 2500},
		{Phase: "bisect", Rate: 45_818, P50: 3000, P99: 33_855, Unmet: []string{"p99 is 33.86ms, want p99<20ms"}},
	}}
	run.Usage.OthersCPUShare = 0.65
	run.Usage.Processes = []result.ProcessUsage{{Name: "engine", CPUSeconds: 7, RSSBytes: 1 << 20}, {Name: "node-1-1", Sessions: 1002}, {Name: "node-1-2", Sessions: 998}}
	run.Edges = &result.Edges{Crossed: 30, Within: 10}
	run.Sweep = &result.Sweep{
		Points: []result.SweepPoint{{Sessions: 1000, UserBytes: 9 << 20}, {Sessions: 2000, ConnectSeconds: 1.5, UserBytes: 10 << 20, KernelBytes: 15 << 20, MachineBytes: 30 << 20, CPUCores: 0.25}},
		User:   result.Line{Slope: 1000, Intercept: -2048, R2: 0.9876}, Kernel: result.Line{Slope: 7800, R2: 1}, CPU: &result.Line{Slope: 2e-6, R2: 0.5}, Stopped: "the ramp ended with 2000 sessions: it was late",
	}
	run.Targets = []result.Target{{Text: "all sessions open within 60s", Measured: "2000 in 12s", Met: true}, {Text: "a target out of reach", Measured: "less"}}
	return run
}

func TestSpecialScenariosAreShownInFull(t *testing.T) {
	run := specialRun()
	page, err := BuildPage(Inputs{Runs: []PageInput{{Path: "a.json", Run: run}}}, "plots")
	if err != nil {
		t.Fatal(err)
	}
	var html bytes.Buffer
	if err := WriteHTML(&html, []*result.Run{run}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Users in pairs write to each other.", "Deliveries across edge processes", "75 %",
		"8 connections cut, 9 reconnects", "4202: 6, 4302: 1", "of 6 that kept asking and 5 silent; 5 held back at the window",
		"Frames of presence", "52,000", "at most 1,999 in a second, of 4,800 times that somebody came or went", "0.75 cores, while nobody flaps 0.25 cores",
		"busy with something else: it took 65 %", "41,650/s", "45,818/s broke it", "p99 is 33.86ms", "Trials of the search", "Each process of the server during measure", "node-1-2", "1,002",
		"processes, resident", "1,000 B", "-2 KiB", "0.9876", "7,800 B", "2 µs", "Steps of the ramp, at rest", "0.25 cores",
		"the ramp ended with 2000 sessions", "a target was missed: a target out of reach; measured: less", "signed with HS256",
	} {
		for name, shown := range map[string]string{"page": string(page.Markdown), "report": html.String()} {
			if !strings.Contains(strings.ReplaceAll(shown, "&lt;", "<"), want) {
				t.Errorf("the %s does not say %q", name, want)
			}
		}
	}
}

func TestARateThatIsNoCapacityIsCalledNone(t *testing.T) {
	run := specialRun()
	run.Capacity.Verdict, run.Capacity.Why = result.VerdictGenerator, "45818/s failed for the generator's sake: it fell behind"
	page, err := BuildPage(Inputs{Runs: []PageInput{{Path: "a.json", Run: run}}}, "plots")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"No capacity: generator-limited", "at least 41,650/s", "the rate is no capacity of the server"} {
		if !bytes.Contains(page.Markdown, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestManyEdgeProcessesAreSummedUp: a table of 56 rows helps nobody.
func TestManyEdgeProcessesAreSummedUp(t *testing.T) {
	run := specialRun()
	run.Usage.Processes = run.Usage.Processes[:1]
	for i := range 56 {
		run.Usage.Processes = append(run.Usage.Processes, result.ProcessUsage{Name: "edge", Sessions: 10, CPUSeconds: 1, RSSBytes: float64(i+1) * (1 << 20)})
	}
	tables := processTables(run)
	if len(tables) != 1 || len(tables[0].Rows) != 2 {
		t.Fatalf("%+v", tables)
	}
	if row := tables[0].Rows[1]; row[0] != "56 edge processes together" || row[1] != "560" || row[2] != "56" {
		t.Errorf("%q", row)
	}
	if note := tables[0].Note; !strings.Contains(note, "1 MiB") || !strings.Contains(note, "56 MiB") {
		t.Error(note)
	}
}

// TestTargetsStandWithTheRunAsMetOrMissed: on the page, whoever judged them.
func TestTargetsStandWithTheRunAsMetOrMissed(t *testing.T) {
	page, err := BuildPage(Inputs{Runs: []PageInput{{Path: "a.json", Run: specialRun()}}}, "plots")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Expected: all sessions open within 60s. Measured: 2000 in 12s. **met**", "Expected: a target out of reach. Measured: less. **missed**"} {
		if !bytes.Contains(page.Markdown, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestPresenceUnderAttackIsHeldToWhatWasPromised: a small run promises nothing.
func TestPresenceUnderAttackIsHeldToWhatWasPromised(t *testing.T) {
	f := func(sessions int, p50, p99 float64, frames uint64, want ...string) {
		t.Helper()
		run := sampleRun()
		run.Scenario, run.Settings.Sessions = "presence-flap", sessions
		run.Flap = &result.Flap{Turns: 9, Frames: 50_000, FramesPerSMax: frames, Quiet: result.Latency{Count: 9, P50: 1000, P99: 5000}, Flapping: result.Latency{Count: 9, P50: p50, P99: p99}}
		page, err := BuildPage(Inputs{Runs: []PageInput{{Path: "a.json", Run: run}}}, "plots")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !bytes.Contains(page.Markdown, []byte(w)) {
				t.Errorf("the page does not say %q", w)
			}
		}
	}
	f(6000, 1200, 10_000, 2000, "Measured: 1.2×, 1.2 ms against 1 ms, at 6,000 sessions. **met**", "Measured: 2×, 10 ms against 5 ms, at 6,000 sessions. **met**", "Measured: 2,000 in the second with most, at 6,000 sessions. **met**")
	f(6000, 1300, 10_100, 2001, "Measured: 1.3×, 1.3 ms against 1 ms, at 6,000 sessions. **missed**", "10.1 ms against 5 ms, at 6,000 sessions. **missed**", "Measured: 2,001 in the second with most, at 6,000 sessions. **missed**")
	f(300, 1000, 5000, 100, "Measured: 1×, 1 ms against 1 ms, at 300 sessions. **missed**", "Measured: 100 in the second with most, at 300 sessions. **missed**")
	f(6000, 0, 0, 100, "with 6,000 sessions or more. Measured: —. **missed**")
}
