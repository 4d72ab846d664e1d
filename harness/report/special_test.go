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
	run.Settings.Servers, run.Settings.SDKSessions = 3, 8
	run.SDK = &result.SDK{Sessions: 8, Offered: 389, Acked: 389, Delivered: 778, Cut: 8, Reconnects: 9}
	run.Slow = &result.Slow{Silent: 5, Asking: 6, WindowFull: 5, CutOff: 6, CloseCodes: map[string]uint64{"4202": 6, "4302": 1}, OthersBefore: sampleLatency(500, 1000), OthersBeside: sampleLatency(600, 1000)}
	run.Capacity = &result.Capacity{SLO: "p99<20ms,loss=0", Latency: "send→delivered", Rate: 41_650, Failed: 45_818, Verdict: result.VerdictCapacity, Trials: []result.CapacityTrial{
		{Phase: "step", Rate: 1000, P50: 400, P99: 2500},
		{Phase: "bisect", Rate: 45_818, P50: 3000, P99: 33_855, Unmet: []string{"p99 is 33.86ms, want p99<20ms"}},
	}}
	run.Usage.OthersCPUShare = 0.65
	run.Usage.Servers = []result.ServerUsage{{URL: "ws://a", CPUSeconds: 7, RSSBytes: 1 << 20}, {URL: "ws://b"}, {URL: "ws://c"}}
	return run
}

func TestSpecialScenariosAreShownInFull(t *testing.T) {
	run := specialRun()
	page, err := BuildPage([]PageInput{{Path: "a.json", Run: run}}, nil, nil, "plots")
	if err != nil {
		t.Fatal(err)
	}
	var html bytes.Buffer
	if err := WriteHTML(&html, []*result.Run{run}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Users in pairs write to each other.", "3 independent single-node servers, no cluster",
		"8 connections cut, 9 reconnects", "4202: 6, 4302: 1", "of 6 that kept asking and 5 silent; 5 held back at the window",
		"busy with something else: it took 65 %", "41,650/s", "45,818/s broke it", "p99 is 33.86ms", "Trials of the search", "Each server during measure",
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
	page, err := BuildPage([]PageInput{{Path: "a.json", Run: run}}, nil, nil, "plots")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"No capacity: generator-limited", "at least 41,650/s", "the rate is no capacity of the server"} {
		if !bytes.Contains(page.Markdown, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
