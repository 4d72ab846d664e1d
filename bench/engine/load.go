package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// loadSpec is one closed loop: every appender waits for its durable ack before
// it sends the next message.
type loadSpec struct {
	Phase     phase // Count is ignored
	First     uint64
	Count     uint64 // messages at most
	Appenders int
	Deadline  time.Duration // then no new message is begun
	Quiet     time.Duration // wait at most so long for the store's own work to end
}

// loadResult is what a loop did.
type loadResult struct {
	Count   uint64
	Seconds float64 // until the last ack
	P50     float64 // µs
	P99     float64 // µs
	CPU     float64 // µs per message, the harness and the work behind the acks included
}

func (r loadResult) perSecond() float64 { return float64(r.Count) / max(r.Seconds, 1e-9) }

// runLoad runs the loop on p. The first error ends it.
func runLoad(p peer, spec loadSpec) (loadResult, error) {
	corpus() // made outside of the measured time
	var next atomic.Uint64
	var failed atomic.Pointer[error]
	took := make([][]uint32, spec.Appenders)
	appenders := make([]appender, spec.Appenders)
	for i := range appenders {
		appenders[i] = p.Appender(spec.Appenders)
		took[i] = make([]uint32, 0, min(spec.Count/uint64(spec.Appenders)*5/4+16, tookKept/uint64(spec.Appenders)))
	}
	cpu, start := processCPU(), time.Now()
	deadline := start.Add(spec.Deadline)
	var wg sync.WaitGroup
	for i := range appenders {
		wg.Go(func() {
			for now := start; now.Before(deadline) && failed.Load() == nil; {
				n := next.Add(1) - 1
				if n >= spec.Count {
					return
				}
				n += spec.First
				if err := appenders[i].Append(spec.Phase.user(n), spec.Phase.text(n)); err != nil {
					err = fmt.Errorf("append message %d: %w", n, err)
					failed.CompareAndSwap(nil, &err)
					return
				}
				before := now
				now = time.Now()
				took[i] = append(took[i], uint32(min(now.Sub(before), 1<<32-1)))
			}
		})
	}
	wg.Wait()
	r := loadResult{Seconds: time.Since(start).Seconds()}
	if err := failed.Load(); err != nil {
		return r, *err
	}
	if err := waitQuiet(after(spec.Quiet), quietAfterLoad); err != nil {
		return r, err
	}
	cpu = processCPU() - cpu
	all := slices.Concat(took...)
	if len(all) == 0 {
		return r, errors.New("no message was written before the deadline")
	}
	slices.Sort(all)
	r.Count = uint64(len(all))
	r.P50, r.P99 = quantile(all, 0.50), quantile(all, 0.99)
	r.CPU = float64(cpu.Microseconds()) / float64(r.Count)
	return r, nil
}

// tookKept is for how many latencies of all appenders together room is made
// ahead of the measurement; more is found when it is needed.
const tookKept = 4 << 20

// quietAfterLoad: rest of so long is the end of the work behind the acks.
const quietAfterLoad = 60 * time.Millisecond

// quantile of sorted nanoseconds, in µs.
func quantile(sorted []uint32, q float64) float64 {
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]) / 1e3
}

// after returns a channel that is closed after d.
func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}
