package record

import (
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The range of the histograms: values are whole microseconds with three
// digits of precision; what is over an hour counts as an hour and as clamped.
const (
	latencyLowest  = 1
	latencyHighest = int64(time.Hour / time.Microsecond)
	latencyDigits  = 3
)

// Counters stand in the layout of HdrHistogram for three digits: 2,048 of
// width 1, then 1,024 of twice the width for each further octave.
const (
	subBits    = 11
	subHalf    = 1 << (subBits - 1)
	slotsCount = (32-subBits)*subHalf + 2*subHalf // the highest value has 32 bits
)

// slotOf returns the counter of a value of 0…latencyHighest.
func slotOf(us int64) int {
	octave := bits.Len64(uint64(us)|(2*subHalf-1)) - subBits
	return octave*subHalf + int(us>>octave)
}

// slotLow returns the lowest value of a counter.
func slotLow(slot int) int64 {
	octave := max(0, slot/subHalf-1)
	return int64(slot-octave*subHalf) << octave
}

// Config says what a Recorder distinguishes.
type Config struct {
	// Latencies are the names of the distributions, as they stand in the result;
	// a latency is recorded by its position here.
	Latencies []string
	// Main is the position of the latency whose percentiles stand in the series.
	Main int
}

func (c *Config) validate() error {
	if len(c.Latencies) == 0 {
		return fmt.Errorf("record: no latency is named")
	}
	for i, name := range c.Latencies {
		if name == "" || slices.Contains(c.Latencies[:i], name) {
			return fmt.Errorf("record: latency %d: %q is empty or named twice", i, name)
		}
	}
	if c.Main < 0 || c.Main >= len(c.Latencies) {
		return fmt.Errorf("record: main latency %d of %d", c.Main, len(c.Latencies))
	}
	return nil
}

// Recorder collects what one generator process measures. Second is called by
// one goroutine; everything else may be called concurrently.
type Recorder struct {
	config Config

	// The measure stage, in nanoseconds since the start of the run. Atomic: it
	// may be set once the ramp is done, while shards record.
	measureFrom, measureTo atomic.Int64

	mu     sync.Mutex
	shards []*Shard

	seen   []uint64 // main latency per counter as of the last Second, all shards
	counts Counts   // as of the last Second, all shards
}

// NewRecorder returns an empty recorder. Until SetMeasure is called, nothing
// goes into the distributions, only into the series.
func NewRecorder(config Config) (*Recorder, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	config.Latencies = slices.Clone(config.Latencies)
	return &Recorder{config: config, seen: make([]uint64, slotsCount)}, nil
}

// SetMeasure says when operations must be due to count in the distributions:
// from ≤ scheduled < to, since the start of the run. It is called before the
// first of them finishes.
func (r *Recorder) SetMeasure(from, to time.Duration) {
	r.measureFrom.Store(int64(from))
	r.measureTo.Store(int64(to))
}

// Shard returns a new part of the recorder, meant for one loop or goroutine.
// Sharing one is correct but costs contention.
func (r *Recorder) Shard() *Shard {
	s := &Shard{recorder: r, latencies: make([]latency, len(r.config.Latencies))}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shards = append(r.shards, s)
	return s
}

func (r *Recorder) allShards() []*Shard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.shards)
}

// Shard is recorded into without locks and without allocation. Its counters
// are atomic because Second reads them while the loop runs.
type Shard struct {
	recorder  *Recorder
	latencies []latency

	// What the loop has done since the start of the run; the loop adds to them.
	Scheduled atomic.Uint64 // operations that fell due
	Sent      atomic.Uint64 // operations begun
	Stored    atomic.Uint64 // operations the server acknowledged
	Delivered atomic.Uint64 // messages that reached a receiver
	Sessions  atomic.Int64  // sessions now open
}

// latency holds every value in exactly one of the two tables, so that the
// series sees all and the distribution those of the measure stage. About
// 370 KiB, of which the system backs only the pages that are touched.
type latency struct {
	measured [slotsCount]atomic.Uint64
	other    [slotsCount]atomic.Uint64

	sumNS   atomic.Int64 // the next four: of the measure stage
	maxNS   atomic.Int64
	clamped atomic.Uint64 // over an hour
	early   atomic.Uint64 // finished before it was due: a fault of the generator
}

// Record adds an operation of the named latency (a position in
// Config.Latencies) that was due and finished at these times since the start
// of the run. An open loop passes the time the schedule says, not the time at
// which it got round to it.
func (s *Shard) Record(name int, scheduled, finished time.Duration) {
	l := &s.latencies[name]
	d := max(0, finished-scheduled)
	slot := slotOf(min(int64((d+time.Microsecond/2)/time.Microsecond), latencyHighest))
	if int64(scheduled) < s.recorder.measureFrom.Load() || int64(scheduled) >= s.recorder.measureTo.Load() {
		l.other[slot].Add(1)
		return
	}
	l.measured[slot].Add(1)
	l.sumNS.Add(int64(d))
	for {
		highest := l.maxNS.Load()
		if int64(d) <= highest || l.maxNS.CompareAndSwap(highest, int64(d)) {
			break
		}
	}
	if d > time.Hour {
		l.clamped.Add(1)
	}
	if finished < scheduled {
		l.early.Add(1)
	}
}

// Second returns what happened since the last call, over all shards.
func (r *Recorder) Second() Sample {
	var now Counts
	merged := make([]uint64, slotsCount)
	for _, s := range r.allShards() {
		now.Scheduled += s.Scheduled.Load()
		now.Sent += s.Sent.Load()
		now.Stored += s.Stored.Load()
		now.Delivered += s.Delivered.Load()
		now.Sessions += int(s.Sessions.Load())
		l := &s.latencies[r.config.Main]
		for i := range merged {
			merged[i] += l.measured[i].Load() + l.other[i].Load()
		}
	}
	d := NewDistribution()
	for i, n := range merged {
		d.add(i, n-r.seen[i])
	}
	sample := Sample{Counts: now.since(r.counts)}
	if d.Count() > 0 {
		sample.Main = d.encoded()
	}
	r.seen, r.counts = merged, now
	return sample
}

// Distributions returns the latencies of the measure stage by name, those
// without a value left out. Values still being recorded may be half in.
func (r *Recorder) Distributions() map[string]*Distribution {
	all := map[string]*Distribution{}
	shards := r.allShards()
	for name := range r.config.Latencies {
		d := NewDistribution()
		for _, s := range shards {
			l := &s.latencies[name]
			for i := range l.measured {
				d.add(i, l.measured[i].Load())
			}
			d.sumNS += float64(l.sumNS.Load())
			d.maxNS = max(d.maxNS, l.maxNS.Load())
			d.clamped += l.clamped.Load()
			d.early += l.early.Load()
		}
		if d.Count() > 0 {
			all[r.config.Latencies[name]] = d
		}
	}
	return all
}
