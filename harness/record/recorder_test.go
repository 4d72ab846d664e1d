package record

import (
	"encoding/json"
	"reflect"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func newTestRecorder(t testing.TB, names ...string) *Recorder {
	t.Helper()
	r, err := NewRecorder(Config{Latencies: names})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []Config{{}, {Latencies: []string{""}}, {Latencies: []string{"a", "a"}}, {Latencies: []string{"a"}, Main: 1}, {Latencies: []string{"a"}, Main: -1}} {
		if _, err := NewRecorder(config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
}

// The recorder counts in its own tables; the library's histogram is the oracle
// of their layout.
func TestCountersAreThoseOfHdrHistogram(t *testing.T) {
	h := hdrhistogram.New(latencyLowest, latencyHighest, latencyDigits)
	check := func(fatal func(string, ...any), v int64) {
		slot := slotOf(v)
		if slot < 0 || slot >= slotsCount {
			fatal("%d has the counter %d of %d", v, slot, slotsCount)
		}
		if low := slotLow(slot); low > v || !h.ValuesAreEquivalent(low, v) || slotOf(low) != slot {
			fatal("%d has the counter %d, whose lowest value is %d", v, slot, low)
		}
		if v > 0 && h.ValuesAreEquivalent(v-1, v) != (slotOf(v-1) == slot) {
			fatal("%d and %d are of counters %d and %d", v-1, v, slotOf(v-1), slot)
		}
	}
	for octave := int64(1); octave <= latencyHighest; octave *= 2 {
		for d := int64(-2); d <= 2; d++ {
			check(t.Fatalf, min(max(octave+d, 0), latencyHighest))
		}
	}
	check(t.Fatalf, latencyHighest)
	rapid.Check(t, func(t *rapid.T) { check(t.Fatalf, rapid.Int64Range(0, latencyHighest).Draw(t, "µs")) })
}

func TestOnlyOperationsDueInMeasureAreDistributed(t *testing.T) {
	r := newTestRecorder(t, "send")
	s := r.Shard()
	s.Record(0, 5*time.Second, 6*time.Second) // before anyone said when measure is
	r.SetMeasure(10*time.Second, 20*time.Second)
	s.Record(0, 10*time.Second-1, 15*time.Second) // due in warm-up, done in measure
	s.Record(0, 10*time.Second, 10*time.Second+time.Millisecond)
	s.Record(0, 20*time.Second-1, 25*time.Second-1) // due in measure, done in cool-down
	s.Record(0, 20*time.Second, 21*time.Second)
	got := r.Distributions()["send"].ToLatency()
	if got.Count != 2 || got.Max != 5e6 || got.P50 < 1000 || got.P50 > 1001 {
		t.Errorf("distribution %+v, want 1 ms and 5 s", got)
	}
	var series Series
	if err := series.Add(0, "measure", r.Second()); err != nil {
		t.Fatal(err)
	}
	row, _ := series.Row(0)
	if row.P50US < 999e3 || row.P50US > 1001e3 || row.MaxUS < 5e6*0.999 {
		t.Errorf("the series left values out: %+v", row)
	}
}

func TestLatencyCountsFromTheScheduledTime(t *testing.T) {
	r := newTestRecorder(t, "send")
	r.SetMeasure(0, time.Hour)
	s := r.Shard()
	// A stall of 200 ms: operations due every 10 ms all end when it is over.
	for due := time.Duration(0); due < 200*time.Millisecond; due += 10 * time.Millisecond {
		s.Record(0, due, 200*time.Millisecond)
	}
	got := r.Distributions()["send"].ToLatency()
	if got.Count != 20 || got.Max != 200e3 || got.P50 < 100e3 || got.P50 > 100.2e3 {
		t.Errorf("a stall gives %+v, want half of the operations over 100 ms", got)
	}
}

func TestDistributionsMergeAllShards(t *testing.T) {
	r := newTestRecorder(t, "send", "resume", "never")
	r.SetMeasure(0, time.Hour)
	const shards, each = 5, 2000
	var loops sync.WaitGroup
	for i := range shards {
		s := r.Shard()
		loops.Go(func() {
			for n := range each {
				s.Record(0, 0, time.Duration(i*each+n+1)*time.Microsecond)
				s.Sent.Add(1)
			}
			s.Record(1, 0, time.Duration(i)*time.Second)
		})
	}
	total := uint64(0) // samples are taken while loops record
	for range 3 {
		total += r.Second().Counts.Sent
	}
	loops.Wait()
	total += r.Second().Counts.Sent
	if total != shards*each {
		t.Errorf("the samples count %d operations of %d", total, shards*each)
	}
	all := r.Distributions()
	if len(all) != 2 || all["never"] != nil {
		t.Fatalf("distributions %v", all)
	}
	send := all["send"].ToLatency()
	if send.Count != shards*each || send.Max != shards*each || send.Mean != (shards*each+1)/2.0 {
		t.Errorf("merged: %+v", send)
	}
	if resume := all["resume"].ToLatency(); resume.Count != shards || resume.Max != 4e6 {
		t.Errorf("merged: %+v", resume)
	}
}

func TestASharedShardLosesNothing(t *testing.T) {
	r := newTestRecorder(t, "send")
	r.SetMeasure(0, time.Hour)
	s := r.Shard()
	var loops sync.WaitGroup
	for i := range 4 {
		loops.Go(func() {
			for n := range 1000 {
				s.Record(0, 0, time.Duration(i*1000+n)*time.Microsecond)
			}
		})
	}
	loops.Wait()
	got := r.Distributions()["send"].ToLatency()
	if got.Count != 4000 || got.Max != 3999 || got.Mean != 1999.5 {
		t.Errorf("%+v", got)
	}
}

func TestSecondHoldsOnlyWhatIsNew(t *testing.T) {
	r := newTestRecorder(t, "other", "send")
	r.config.Main = 1
	s := r.Shard()
	s.Scheduled.Add(3)
	s.Sent.Add(2)
	s.Sessions.Store(7)
	s.Record(1, 0, time.Millisecond)
	s.Record(0, 0, time.Minute) // not the main one
	if got, want := r.Second().Counts, (Counts{Scheduled: 3, Sent: 2, Sessions: 7}); got != want {
		t.Errorf("first second %+v, want %+v", got, want)
	}
	s.Stored.Add(1)
	s.Delivered.Add(9)
	s.Sessions.Add(-2)
	s.Record(1, 0, 3*time.Millisecond)
	sample := r.Second()
	if want := (Counts{Stored: 1, Delivered: 9, Sessions: 5}); sample.Counts != want {
		t.Errorf("next second %+v, want %+v", sample.Counts, want)
	}
	h, err := decodeHistogram(sample.Main)
	if err != nil || h.TotalCount() != 1 || h.Max() < 2999 || h.Max() > 3001 {
		t.Errorf("next second's values: %v, %v", h, err)
	}
	if quiet := r.Second(); !reflect.DeepEqual(quiet, Sample{Counts: Counts{Sessions: 5}}) {
		t.Errorf("a quiet second %+v", quiet)
	}
}

func TestFaultyTimesAreCounted(t *testing.T) {
	r := newTestRecorder(t, "send")
	r.SetMeasure(0, time.Hour)
	s := r.Shard()
	s.Record(0, time.Second, time.Second-1)
	s.Record(0, 0, 2*time.Hour)
	s.Record(0, 0, time.Hour)
	d := r.Distributions()["send"]
	if d.Count() != 3 || d.Early() != 1 || d.Clamped() != 1 {
		t.Errorf("count %d, early %d, clamped %d", d.Count(), d.Early(), d.Clamped())
	}
	if l := d.ToLatency(); l.Max != 2*3600e6 || l.P50 > 3601e6 {
		t.Errorf("%+v", l)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	r := newTestRecorder(t, "send")
	r.SetMeasure(0, time.Hour)
	s := r.Shard()
	if n := testing.AllocsPerRun(1000, func() { s.Record(0, 0, 123*time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSamplesTravelAsJSON(t *testing.T) {
	r := newTestRecorder(t, "send")
	s := r.Shard()
	s.Sent.Add(1)
	s.Record(0, 0, time.Millisecond)
	want := r.Second()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Sample
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if len(text) > 1000 {
		t.Errorf("a sample of one value takes %d bytes", len(text))
	}
}

func BenchmarkRecord(b *testing.B) {
	s := newTestRecorder(b, "send").Shard()
	b.ReportAllocs()
	for i := range b.N {
		s.Record(0, 0, time.Duration(i&0xfffff))
	}
}
