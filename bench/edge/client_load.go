package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godwit-im/godwit/edge/ws"
)

// echoBytes is the text of an echoed message; rawBytes is what it takes from
// client to server with its frame, and what a server without frames gets.
const echoBytes = 128

var (
	echoFrame = ws.AppendMasked(nil, true, ws.Binary, maskKey, newText(echoBytes))
	rawBytes  = len(echoFrame)
)

// echoSpec is a closed loop: every active connection sends so many messages in
// one write, and again once all have come back.
type echoSpec struct {
	Active    int
	Pipelined int
	Warm      time.Duration // before anything is measured
	Measure   time.Duration
	PID       int // of the server, for its CPU time
}

type echoResult struct {
	Messages uint64
	Seconds  float64
	CPU      float64 // seconds of the server
	Total    uint64  // messages with those before and after the measurement
}

// echoDrainLimit also is how long a first message may take: a busy machine may
// not run a server at all while it is measured.
const echoDrainLimit = time.Minute

// echo measures between two looks at the counter and at the server's CPU time,
// then lets the connections come to rest.
func (c *client) echo(q echoSpec) (r echoResult, err error) {
	if q.Active > len(c.conns) || q.Active < 1 || q.Pipelined < 1 || q.Measure <= 0 {
		return r, errors.New("there are not so many connections, or there is nothing to measure")
	}
	all := c.echoed.Load()
	c.do(func() {
		c.mode, c.busy = modeEcho, q.Active
		c.burst = nil
		for range q.Pipelined {
			c.burst = append(c.burst, echoFrame...)
		}
		c.replies = uint32(q.Pipelined)
		if c.kind == kindRaw {
			c.replies = uint32(len(c.burst))
		}
		for i := range c.conns[:q.Active] {
			c.conns[i].owed = c.replies
			c.send(&c.conns[i], c.burst)
		}
	})
	time.Sleep(q.Warm)
	began, messages := monotonic(), c.echoed.Load()
	cpu, err := cpuOf(q.PID)
	if err != nil {
		return r, err
	}
	// What comes in may be what the server answered before, at no cost since.
	after := cpu
	for waited := time.Duration(0); (r.Messages == 0 || after == cpu) && waited < echoDrainLimit; waited += q.Measure {
		time.Sleep(q.Measure)
		r.Messages = c.echoed.Load() - messages
		if after, err = cpuOf(q.PID); err != nil {
			return r, err
		}
	}
	r.Seconds = float64(monotonic()-began) / 1e9
	r.CPU = (after - cpu).Seconds()
	c.do(func() { c.mode = modeIdle })
	ok, err := c.until(echoDrainLimit, func() bool { return c.busy == 0 })
	switch {
	case err != nil:
	case !ok:
		err = fmt.Errorf("%d of %d connections still wait for their echo after %v", c.busy, q.Active, echoDrainLimit)
	case r.Messages == 0:
		err = errors.New("nothing was echoed")
	}
	r.Total = c.echoed.Load() - all
	return r, err
}

// watch counts pushed messages.
type watch struct {
	received uint64
	last     int64 // when the newest came
	stamped  bool  // look for stamps
	due      []int64
	handed   []int64
}

// startWatch counts from zero.
func (c *client) startWatch(q awaitSpec) error {
	c.do(func() {
		c.mode = modeWatch
		c.watch = watch{stamped: q.Stamped, due: c.watch.due[:0], handed: c.watch.handed[:0]}
	})
	return nil
}

func (w *watch) arrived(payload []byte) {
	w.received++
	w.last = monotonic()
	if !w.stamped {
		return
	}
	if due, handed, ok := stamps(payload); ok {
		w.due, w.handed = append(w.due, w.last-due), append(w.handed, w.last-handed)
	}
}

// awaitSpec waits for pushed messages.
type awaitSpec struct {
	Count   uint64 // since the watch began
	Limit   time.Duration
	Stamped bool
}

// arrivedResult is what came. Latencies are µs: Due from when a message was due,
// Handed from when the server was given it.
type arrivedResult struct {
	Received uint64
	Last     int64
	Stamped  int
	Due      latency
	Handed   latency
}

type latency struct{ P50, P99, P999, Max float64 }

// await returns when so many have come, or fails.
func (c *client) await(q awaitSpec) (r arrivedResult, err error) {
	ok, err := c.until(q.Limit, func() bool { return c.watch.received >= q.Count })
	if err != nil {
		return r, err
	}
	if !ok {
		return r, fmt.Errorf("%d of %d pushed messages came within %v", c.watch.received, q.Count, q.Limit)
	}
	c.do(func() {
		c.mode = modeIdle
		w := &c.watch
		r = arrivedResult{Received: w.received, Last: w.last, Stamped: len(w.due), Due: latencyOf(w.due), Handed: latencyOf(w.handed)}
	})
	if q.Stamped && r.Stamped < int(q.Count)*9/10 {
		return r, fmt.Errorf("only %d of %d messages had a stamp", r.Stamped, q.Count)
	}
	return r, nil
}

// latencyOf sorts its argument.
func latencyOf(ns []int64) latency {
	if len(ns) == 0 {
		return latency{}
	}
	slices.Sort(ns)
	at := func(q float64) float64 { return float64(ns[min(int(q*float64(len(ns))), len(ns)-1)]) / 1e3 }
	return latency{P50: at(0.5), P99: at(0.99), P999: at(0.999), Max: at(1)}
}
