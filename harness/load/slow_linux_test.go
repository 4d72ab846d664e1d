package load

import (
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// TestSlowSessionsGetTheirShare: none of them sends, and each is written to at
// its own rate while the others keep theirs.
func TestSlowSessionsGetTheirShare(t *testing.T) {
	l := &loop{sessions: make([]session, 40)}
	l.slow.sessions = 4
	const seconds, rate, perSlow = 100, 100, 20
	sent := make([]int, len(l.sessions))
	last := time.Duration(0)
	for _, a := range l.planSlow(scenario.ArrivalsUniform, rate, perSlow, seconds*time.Second) {
		if a.at < last {
			t.Fatalf("%s comes after %s", a.at, last)
		}
		last = a.at
		sent[a.actor]++
	}
	slow, others := 0, 0
	for i := range l.sessions {
		switch {
		case l.isSlow(uint32(i)) && sent[i] > 0:
			t.Errorf("slow session %d sends %d messages", i, sent[i])
		case l.isSlow(uint32(i)):
			slow++
			if n := sent[i^1]; n < 17*seconds || n > 23*seconds {
				t.Errorf("slow session %d is sent %d messages in %d s, want about %d a second", i, n, seconds, perSlow)
			}
		case !l.isSlow(uint32(i ^ 1)):
			others += sent[i]
		}
	}
	if slow != 4 || others < 19*seconds || others > 21*seconds {
		t.Errorf("%d slow sessions; the others send %d in %d s, want 20 a second", slow, others, seconds)
	}
}

func TestSlowIsConcludedFromAgentsAndMetrics(t *testing.T) {
	c := &coordinator{reports: []Report{
		{Slow: result.Slow{Silent: 1, Asking: 2, WindowFull: 1, CutOff: 2}}, {Slow: result.Slow{Silent: 3, CutOff: 1}},
	}}
	c.measured.before = map[string]float64{closesMetric + `4202"}`: 1, closesMetric + `4302"}`: 7}
	c.measured.after = map[string]float64{closesMetric + `4202"}`: 4, closesMetric + `4302"}`: 7, closesMetric + `1000"}`: 1, "godwit_other": 5}
	r, err := record.NewRecorder(record.Config{Latencies: latencyNames})
	if err != nil {
		t.Fatal(err)
	}
	r.SetMeasure(0, time.Hour)
	shard := r.Shard()
	shard.Record(latencyDelivered, 0, time.Second)
	shard.Record(latencyBefore, 0, time.Second)
	shard.Record(latencyBeside, 0, 2*time.Second)
	shard.Record(latencySlow, 0, 3*time.Second)
	latencies := r.Distributions()
	s := c.concludeSlow(latencies)
	if s.Silent != 4 || s.Asking != 2 || s.WindowFull != 1 || s.CutOff != 3 {
		t.Errorf("sessions: %+v", s)
	}
	if len(s.CloseCodes) != 2 || s.CloseCodes["4202"] != 3 || s.CloseCodes["1000"] != 1 {
		t.Errorf("closes by code: %v", s.CloseCodes)
	}
	if len(latencies) != 1 || s.OthersBefore.Max != 1e6 || s.OthersBeside.Max != 2e6 || s.ToSlow.Max != 3e6 {
		t.Errorf("latencies: %d left, %v, %v, %v", len(latencies), s.OthersBefore.Max, s.OthersBeside.Max, s.ToSlow.Max)
	}
}
