package record

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/result"
)

// sampleOf is a second with values of whole microseconds.
func sampleOf(counts Counts, values ...int64) Sample {
	s := Sample{Counts: counts}
	if len(values) > 0 {
		s.Main = distributionOf(values...).encoded()
	}
	return s
}

func TestSeriesAddsUpGenerators(t *testing.T) {
	var s Series
	add := func(at int, stage string, sample Sample) {
		t.Helper()
		if err := s.Add(at, stage, sample); err != nil {
			t.Fatal(err)
		}
	}
	add(2, "measure", sampleOf(Counts{5, 4, 3, 2, 100}, 10, 20, 30))
	add(0, "ramp", sampleOf(Counts{Sessions: 1}))
	add(2, "measure", sampleOf(Counts{10, 10, 10, 10, 200}, 1000))
	if err := s.AddServer(2, Usage{CPUSeconds: 7.5, RSSBytes: 1 << 20}, 7); err != nil {
		t.Fatal(err)
	}
	want := []result.Second{
		{At: 0, Stage: "ramp", Sessions: 1},
		{At: 2, Stage: "measure", Scheduled: 15, Sent: 14, Stored: 13, Delivered: 12, Sessions: 300, P50US: 20, P99US: 1000, MaxUS: 1000, ServerRSS: 1 << 20, ServerCPU: 0.5},
	}
	if got := s.Rows(); !reflect.DeepEqual(got, want) {
		t.Errorf("rows\n%+v\nwant\n%+v", got, want)
	}
	if row, known := s.Row(2); !known || row != want[1] {
		t.Errorf("row %+v, %v", row, known)
	}
	for _, at := range []int{-1, 1, 3} {
		if row, known := s.Row(at); known {
			t.Errorf("second %d of which nobody reported: %+v", at, row)
		}
	}
}

func TestSeriesRefusesWhatNoGeneratorSends(t *testing.T) {
	var s Series
	for _, at := range []int{-1, seriesMax} {
		if err := s.Add(at, "measure", Sample{}); err == nil {
			t.Errorf("second %d was taken", at)
		}
		if err := s.AddServer(at, Usage{}, 0); err == nil {
			t.Errorf("the server's second %d was taken", at)
		}
	}
	if err := s.Add(0, "measure", Sample{Main: "x"}); err == nil || !strings.Contains(err.Error(), "second 0") {
		t.Errorf("a broken histogram: %v", err)
	}
	if rows := s.Rows(); rows == nil || len(rows) != 0 {
		t.Errorf("refused samples left %+v", rows)
	}
}

// A stall of 200 ms every 10 s, served by a recorder and a series as a run does.
func TestAStallShowsInSeriesAndP99(t *testing.T) {
	r := newTestRecorder(t, "send")
	r.SetMeasure(0, 20*time.Second)
	shard := r.Shard()
	var series Series
	for at := range 20 {
		for ms := range 1000 {
			due := time.Duration(at)*time.Second + time.Duration(ms)*time.Millisecond
			done := due + time.Millisecond
			if at%10 == 5 && ms < 200 {
				done = time.Duration(at)*time.Second + 200*time.Millisecond
			}
			shard.Record(0, due, done)
		}
		if err := series.Add(at, "measure", r.Second()); err != nil {
			t.Fatal(err)
		}
	}
	l := r.Distributions()["send"].ToLatency()
	if l.P50 > 1001 || l.P99 < 99e3 || l.Max != 200e3 {
		t.Errorf("the stall doesn't show: %+v", l)
	}
	for _, row := range series.Rows() {
		if stalled := int(row.At)%10 == 5; (row.P99US > 100e3) != stalled {
			t.Errorf("second %v: p99 %v µs, stalled %v", row.At, row.P99US, stalled)
		}
	}
}
