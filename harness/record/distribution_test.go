package record

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"pgregory.net/rapid"

	"github.com/godwit-im/godwit/harness/result"
)

// distributionOf records values of whole microseconds.
func distributionOf(values ...int64) *Distribution {
	r, err := NewRecorder(Config{Latencies: []string{"a"}})
	if err != nil {
		panic(err)
	}
	r.SetMeasure(0, 1)
	s := r.Shard()
	for _, us := range values {
		s.Record(0, 0, time.Duration(us)*time.Microsecond)
	}
	if d := r.Distributions()["a"]; d != nil {
		return d
	}
	return NewDistribution()
}

func TestRankRoundsTowardsTheSlowerValue(t *testing.T) {
	f := func(percentile float64, total, want int64) {
		t.Helper()
		if got := rank(percentile, total); got != want {
			t.Errorf("p%v of %d values is rank %d, want %d", percentile, total, got, want)
		}
	}
	f(50, 1, 1)
	f(50, 2, 1)
	f(50, 3, 2)
	f(99, 100, 99)
	f(99, 101, 100)
	f(99, 140, 139)
	f(99.9, 1000, 999)
	f(99.9, 1600, 1599) // half up would say 1,598: 99.875 %
	f(99.9, 999, 999)
	f(99.99, 10000, 9999)
	f(99.99, 10001, 10000)
	f(99.99, 1_000_000_000, 999_900_000)
	f(100, 7, 7)
	f(0, 7, 1)
}

// The percentile is checked by its definition on the sorted values.
func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 5_000_000), 1, 400).Draw(t, "values")
		d := distributionOf(values...)
		slices.Sort(values)
		l := d.ToLatency()
		for _, p := range []struct {
			permyriad int
			got       float64
		}{{5000, l.P50}, {9000, l.P90}, {9900, l.P99}, {9990, l.P999}, {9999, l.P9999}} {
			at := (p.permyriad*len(values)+9999)/10000 - 1
			want := float64(values[at])
			if p.got < want || p.got > want*1.001+1 {
				t.Fatalf("p%v is %v, the sorted values have %v", float64(p.permyriad)/100, p.got, want)
			}
		}
		if l.Max != float64(values[len(values)-1]) || l.Count != uint64(len(values)) {
			t.Fatalf("max %v, count %d", l.Max, l.Count)
		}
		run := result.Run{Latencies: map[string]result.Latency{"a": l}}
		run.Format = result.Format
		if err := run.Validate(); err != nil && strings.Contains(err.Error(), "latencies") {
			t.Fatalf("the result refuses it: %v", err)
		}
	})
}

func TestToLatencyOfNothing(t *testing.T) {
	if got, want := NewDistribution().ToLatency(), (result.Latency{Buckets: [][2]float64{}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestBucketsHoldEveryValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, latencyHighest), 1, 200).Draw(t, "values")
		buckets := distributionOf(values...).ToLatency().Buckets
		var below float64
		for _, b := range buckets {
			below += b[1]
			want := 0
			for _, v := range values {
				if float64(v) <= b[0] {
					want++
				}
			}
			if below != float64(want) {
				t.Fatalf("%v values up to %v, want %d", below, b[0], want)
			}
		}
		if below != float64(len(values)) {
			t.Fatalf("%v values of %d", below, len(values))
		}
	})
	f := func(us, want int64) {
		t.Helper()
		if got := bucketUpper(us); got != want {
			t.Errorf("%d is of the bucket up to %d, want %d", us, got, want)
		}
	}
	f(0, 0)
	f(255, 255)
	f(256, 257)
	f(511, 511)
	f(512, 515)
	var many []int64
	for us := int64(100); us < 200_000; us += 7 {
		many = append(many, us)
	}
	if n := len(distributionOf(many...).ToLatency().Buckets); n > 1500 {
		t.Errorf("%d buckets for eleven octaves", n)
	}
}

func TestDistributionsMergeAfterTravelling(t *testing.T) {
	a, b := distributionOf(100, 200, 300), distributionOf(50_000_000, 400)
	b.early, b.clamped = 3, 2
	text, err := json.Marshal(map[string]*Distribution{"send": b})
	if err != nil {
		t.Fatal(err)
	}
	var received map[string]*Distribution
	if err := json.Unmarshal(text, &received); err != nil {
		t.Fatal(err)
	}
	sum := NewDistribution()
	sum.Merge(a)
	sum.Merge(received["send"])
	want := distributionOf(100, 200, 300, 50_000_000, 400).ToLatency()
	if got := sum.ToLatency(); !reflect.DeepEqual(got, want) {
		t.Errorf("merged %+v\nwant %+v", got, want)
	}
	if sum.Early() != 3 || sum.Clamped() != 2 {
		t.Errorf("early %d, clamped %d", sum.Early(), sum.Clamped())
	}
}

func TestForeignHistogramsAreRefused(t *testing.T) {
	other := func(low, high int64, digits int) string {
		h := hdrhistogram.New(low, high, digits)
		text, err := h.EncodeV2()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	f := func(text, want string) {
		t.Helper()
		var d Distribution
		if err := json.Unmarshal([]byte(text), &d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
	f(`{"histogram":""}`, "decode a histogram")
	f(`{"histogram":"!!"}`, "decode a histogram")
	f(`{"histogram":"`+other(1, latencyHighest, 2)+`"}`, "not the recorder's")
	f(`{"histogram":"`+other(1, 1000, 3)+`"}`, "not the recorder's")
	f(`{"histogram":"`+NewDistribution().encoded()+`","sum_ns":-1}`, "negative")
	f(`{"histogram":"`+NewDistribution().encoded()+`","max_ns":-1}`, "negative")
	f(`{"histogram":7}`, "cannot unmarshal")
}

func TestMeanIsExact(t *testing.T) {
	l := distributionOf(1_000_001, 1_000_003).ToLatency()
	if math.Abs(l.Mean-1_000_002) > 1e-6 {
		t.Errorf("mean %v", l.Mean)
	}
}
