package node

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"sync"
	"time"
)

const (
	collectorEvery = time.Second // between two looks at the heap

	percentDefault = 100 // Go's own
	percentQuiet   = 50  // at least this, of what is alive
	percentBusy    = 400 // no more, but for roomSmallMax

	// rateDefault is how many bytes a second are allocated where the percent is 100.
	// Twice the bytes get twice the percent, so that collecting takes the same CPU time.
	rateDefault = 24 << 20

	roomSmallMax = 64 << 20  // a small heap has room for a second, up to this
	roomMax      = 256 << 20 // or an eighth of the budget, where less is alive

	aliveMin = 4 << 20 // Go takes a smaller heap for one of this size
)

// heapSample is the heap at one time.
type heapSample struct {
	at        time.Time
	allocated uint64 // bytes, ever
	alive     uint64 // bytes that the last cycle found, stacks and globals included
	used      uint64 // bytes of objects, dead ones included
}

// pacer decides how much garbage may lie about, from what is allocated and what is
// alive. It knows no clock and no runtime.
type pacer struct {
	roomMax uint64 // bytes of garbage, unless more than that is alive

	last    heapSample
	rate    float64 // bytes per second: rises at once, halves in a second
	percent int     // in effect
}

// next returns the percent to be in effect from now on, and whether a cycle must be
// run: a process that has become quiet allocates too little to begin one by itself.
func (p *pacer) next(s heapSample) (percent int, cycle bool) {
	elapsed := s.at.Sub(p.last.at).Seconds()
	last := p.last
	p.last = s
	if last.at.IsZero() || elapsed <= 0 {
		return p.percent, false
	}
	p.rate = max(float64(s.allocated-last.allocated)/elapsed, p.rate*math.Exp2(-elapsed))
	wanted := p.wanted(float64(max(s.alive, aliveMin)))
	if wanted == p.percent || wanted != percentQuiet && 4*max(wanted-p.percent, p.percent-wanted) <= p.percent {
		return p.percent, false // near enough: a change may begin a cycle
	}
	p.percent = wanted
	return wanted, wanted == percentQuiet && s.used > s.alive+s.alive*percentQuiet/100
}

// wanted is the percent that suits the rate.
func (p *pacer) wanted(alive float64) int {
	room := max(min(p.rate/rateDefault, percentBusy/percentDefault)*alive, min(p.rate, roomSmallMax))
	return max(int(100*min(room, max(alive, float64(p.roomMax)))/alive), percentQuiet)
}

// collector has Go's garbage collector follow the load: a quiet process gives its
// memory back, a busy one spends some of it to collect less often.
type collector struct {
	pacer  pacer
	read   func() heapSample
	set    func(percent int)
	cycle  func() // collects all, and gives the system what is free
	logger *slog.Logger

	stop    chan struct{}
	stopped sync.WaitGroup
	once    sync.Once
}

// newCollector returns nil where GOGC says how to collect.
func newCollector(budget int64, logger *slog.Logger) *collector {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	room := uint64(roomMax)
	if budget > 0 {
		room = min(room, uint64(budget)/8)
	}
	return &collector{
		pacer:  pacer{roomMax: room, percent: percentDefault},
		read:   heapReader(),
		set:    func(percent int) { debug.SetGCPercent(percent) },
		cycle:  debug.FreeOSMemory,
		logger: logger,
		stop:   make(chan struct{}),
	}
}

// start looks at the heap at each tick, every second without any, until close.
func (c *collector) start(ticks <-chan time.Time) {
	if c == nil {
		return
	}
	c.stopped.Go(func() {
		if ticks == nil {
			ticker := time.NewTicker(collectorEvery)
			defer ticker.Stop()
			ticks = ticker.C
		}
		for {
			select {
			case <-ticks:
				c.look()
			case <-c.stop:
				return
			}
		}
	})
}

// look changes the percent if the pacer says so.
func (c *collector) look() {
	before := c.pacer.percent
	percent, cycle := c.pacer.next(c.read())
	if percent != before {
		c.set(percent)
		c.logger.Debug("garbage collection follows the load", "percent", percent, "alive", c.pacer.last.alive, "allocated_per_s", int64(c.pacer.rate))
	}
	if cycle {
		c.cycle()
	}
}

// close ends it and leaves Go's own percent behind.
func (c *collector) close() {
	if c == nil {
		return
	}
	c.once.Do(func() {
		close(c.stop)
		c.stopped.Wait()
		c.set(percentDefault)
	})
}

// heapReader returns a function that looks at this process's heap, for one
// goroutine. What a percent is of includes stacks and globals.
func heapReader() func() heapSample {
	samples := []runtimemetrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/gc/scan/stack:bytes"},
		{Name: "/gc/scan/globals:bytes"},
	}
	return func() heapSample {
		runtimemetrics.Read(samples)
		n := func(i int) uint64 { return samples[i].Value.Uint64() }
		return heapSample{at: time.Now(), allocated: n(0), used: n(1), alive: n(2) + n(3) + n(4)}
	}
}
