package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// outage takes the directory away. Sends go on, sessions that break off come back,
// newcomers are let in, no process dies, and all recovers by itself.
func (r *run) outage(ctx context.Context) error {
	watch := r.watchReady(ctx)
	p, err := r.during(ctx, "tikv_outage", func() error {
		if err := r.fault(ctx, map[string]any{"outage": r.o.Outage.String()}); err != nil {
			return err
		}
		r.result.Faults["tikv_outage"]++
		begun := time.Now()
		if err := r.wait(ctx, r.o.Outage/4); err != nil {
			return err
		}
		if err := r.breakOff(ctx); err != nil {
			return err
		}
		r.newcomer(ctx, "while the directory is away")
		if r.o.Outage >= restartOutage {
			if err := r.restartAway(ctx, watch); err != nil {
				return err
			}
		}
		return r.wait(ctx, r.o.Outage-time.Since(begun))
	})
	if err != nil {
		return err
	}
	r.goOn(p)
	p.Note = watch.end(r)
	_, err = r.during(ctx, "recovery", func() error { return r.recovered(ctx) })
	return err
}

// restartOutage is an outage that is long enough to kill an edge in it.
const restartOutage = 30 * time.Second

// restartAway kills an edge while the directory is away, and starts it again: it must
// take clients without the directory.
func (r *run) restartAway(ctx context.Context, watch *readyWatch) error {
	m := r.edges[1]
	watch.leaveOut(m)
	victims, at := r.fleet.at(m.name), time.Now()
	m.kill()
	r.result.Faults["kill_edge"]++
	r.moved(ctx, victims, m.name, at)
	if err := r.startEdge(ctx, m); err != nil {
		return err
	}
	watch.leaveOut(nil)
	return ctx.Err()
}

// slow has the directory answer late and wrongly.
func (r *run) slow(ctx context.Context) error {
	watch := r.watchReady(ctx)
	p, err := r.during(ctx, "tikv_slow", func() error {
		faults := map[string]any{"slow": r.o.Slow.String(), "region_errors": 0.05, "undetermined": 0.02}
		if err := r.fault(ctx, faults); err != nil {
			return err
		}
		r.result.Faults["tikv_slow"]++
		if err := r.wait(ctx, r.o.SlowFor/4); err != nil {
			return err
		}
		if err := r.breakOff(ctx); err != nil {
			return err
		}
		r.newcomer(ctx, "while the directory is slow")
		if err := r.wait(ctx, r.o.SlowFor*3/4); err != nil {
			return err
		}
		return r.fault(ctx, map[string]any{"slow": "0s", "region_errors": 0, "undetermined": 0})
	})
	if err != nil {
		return err
	}
	r.goOn(p)
	p.Note = watch.end(r)
	_, err = r.during(ctx, "recovery", func() error { return r.recovered(ctx) })
	return err
}

// breakOff cuts a tenth of all connections and waits until the sessions are back.
func (r *run) breakOff(ctx context.Context) error {
	at := time.Now()
	var cut []*user
	for i := 0; i < len(r.fleet.users); i += 10 {
		cut = append(cut, r.fleet.users[i])
		r.fleet.users[i].cut()
	}
	back := 0
	err := until(ctx, movePatience, "sessions whose connection broke are back", func() bool {
		back = 0
		for _, u := range cut {
			if _, live, since := u.where(); live && since.After(at) {
				back++
			}
		}
		return back == len(cut)
	})
	took := time.Since(at)
	r.result.unless(err == nil && took <= backMax, "%d of %d sessions whose connection broke were back after %s, want all within %s", back, len(cut), took.Round(time.Millisecond), backMax)
	return ctx.Err()
}

// newcomer opens a session of a user whom nobody has seen.
func (r *run) newcomer(ctx context.Context, when string) {
	r.newcomers++
	u := r.fleet.user(len(r.fleet.users) + r.newcomers)
	defer u.close()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, backMax)
	defer cancel()
	err := u.open(ctx)
	r.result.unless(err == nil, "a newcomer %s: %v after %s", when, err, time.Since(begun).Round(time.Millisecond))
}

const recoveryPatience = 45 * time.Second

// recovered waits until every process says that it is ready, and not degraded.
func (r *run) recovered(ctx context.Context) error {
	for _, m := range r.servers() {
		said := ""
		err := until(ctx, recoveryPatience, m.name+" has recovered", func() bool {
			ready, degraded, body, err := r.readyz(ctx, m)
			said = body
			return err == nil && ready && !degraded
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.result.unless(err == nil, "%v; it says %s", err, said)
	}
	r.settled(ctx, "after a fault of the directory")
	return ctx.Err()
}

// readyWatch looks at /readyz of all processes during a fault.
type readyWatch struct {
	out    atomic.Pointer[member] // not asked: it is being started
	stop   context.CancelFunc
	ended  sync.WaitGroup
	looks  int
	dead   []string
	saidSo map[string]bool // processes that said they were degraded
}

const readyEvery = 250 * time.Millisecond

func (r *run) watchReady(ctx context.Context) *readyWatch {
	w := &readyWatch{saidSo: map[string]bool{}}
	ctx, w.stop = context.WithCancel(ctx)
	w.ended.Go(func() {
		look := time.NewTicker(readyEvery)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			for _, m := range r.servers() {
				if w.out.Load() == m {
					continue
				}
				ready, degraded, body, err := r.readyz(ctx, m)
				switch {
				case ctx.Err() != nil:
					return
				case w.out.Load() == m:
				case err != nil || !ready:
					w.dead = append(w.dead, fmt.Sprintf("%s (%.100s %v)", m.name, body, err))
				case degraded:
					w.saidSo[m.name] = true
				}
				w.looks++
			}
		}
	})
	return w
}

// leaveOut has a process not be asked until the next call.
func (w *readyWatch) leaveOut(m *member) { w.out.Store(m) }

// end judges: nobody was dead. It returns who was degraded, as a sentence.
func (w *readyWatch) end(r *run) string {
	w.stop()
	w.ended.Wait()
	r.result.unless(len(w.dead) == 0, "/readyz said not ready %d times during a fault of the directory, first %s", len(w.dead), strings.Join(w.dead[:min(1, len(w.dead))], ""))
	return fmt.Sprintf("/readyz asked %d times: never not ready; degraded at some time: %d of %d processes", w.looks, len(w.saidSo), len(r.servers()))
}
