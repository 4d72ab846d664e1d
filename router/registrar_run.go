package router

import (
	"context"
	"errors"
	"sync"
	"time"
)

var errClosed = errors.New("router: closed")

// bucket is a token bucket in the hands of one goroutine.
type bucket struct {
	rate, most, tokens float64
	at                 time.Time
}

func newBucket(rate int) bucket {
	most := max(float64(rate)/4, batchMax)
	return bucket{rate: float64(rate), most: most, tokens: most, at: time.Now()}
}

// fill returns the tokens there are at now.
func (b *bucket) fill(now time.Time) int {
	b.tokens = min(b.most, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
	return int(b.tokens)
}

// until is how long it takes to have n tokens.
func (b *bucket) until(n int) time.Duration {
	return time.Duration((float64(n) - b.tokens) / b.rate * float64(time.Second))
}

// Between attempts on a store that is away.
const (
	awayPauseMin = 100 * time.Millisecond
	awayPauseMax = 2 * time.Second
)

// run tells slots in rounds until the registrar ends or its edge is superseded.
func (r *Registrar) run(ctx context.Context) {
	defer r.stop()
	lease := r.cfg.Lease
	select {
	case <-lease.Claimed():
	case <-ctx.Done():
		return
	}
	r.setAway(false)
	pause := awayPauseMin
	for {
		most := batchMax * r.cfg.Concurrency
		if r.isAway() {
			most = 1
		}
		tokens := r.bucket.fill(time.Now())
		jobs := r.take(min(most, tokens))
		r.bucket.tokens -= float64(len(jobs))
		wait := time.Duration(-1) // for a change
		if len(jobs) > 0 {
			wait = 0
			if r.round(ctx, jobs) {
				r.setAway(false)
				pause = awayPauseMin
			} else {
				r.setAway(true)
				wait, pause = pause, min(2*pause, awayPauseMax)
			}
		} else if r.waiting() {
			wait = max(r.bucket.until(min(batchMax, 1+r.cfg.Rate/50)), time.Millisecond)
		}
		if !r.sleep(ctx, wait) {
			return
		}
	}
}

// sleep waits that long, or for a change if it is negative.
func (r *Registrar) sleep(ctx context.Context, wait time.Duration) bool {
	var elapsed <-chan time.Time
	wake := r.wake
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		elapsed, wake = timer.C, nil
	}
	select {
	case <-elapsed:
	case <-wake:
	case <-ctx.Done():
		return false
	case <-r.cfg.Lease.Superseded():
		return false
	}
	return true
}

func (r *Registrar) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0
}

func (r *Registrar) isAway() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away
}

func (r *Registrar) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away == away {
		return
	}
	r.away = away
	if away {
		for _, s := range r.slots {
			s.dirty = true
		}
		r.dirty = len(r.slots)
	}
	r.cfg.Logger.Info("registration of routes", "away", away, "dirty", r.dirty)
}

// round tells jobs in concurrent transactions: each alone while there are few. False:
// the store answered none of them.
func (r *Registrar) round(ctx context.Context, jobs []*job) bool {
	size := min(batchMax, (len(jobs)+r.cfg.Concurrency-1)/r.cfg.Concurrency)
	var all sync.WaitGroup
	var mu sync.Mutex
	reached := false
	for len(jobs) > 0 {
		chunk := jobs[:min(size, len(jobs))]
		jobs = jobs[len(chunk):]
		all.Go(func() {
			ok := r.tell(ctx, chunk)
			mu.Lock()
			reached = reached || ok
			mu.Unlock()
		})
	}
	all.Wait()
	return reached
}

// tell is one transaction. False: the store was away.
func (r *Registrar) tell(ctx context.Context, jobs []*job) bool {
	number, epoch := r.cfg.Lease.ID()
	var changes []change
	add := func(job *job, c Route, remove bool) {
		c.Edge, c.Epoch = number, epoch
		changes = append(changes, change{user: job.key.user, route: c, remove: remove})
	}
	for _, job := range jobs {
		job.from = len(changes)
		if job.add != nil {
			add(job, *job.add, false) // it takes the place of what ended
			continue
		}
		for _, c := range job.ends {
			add(job, c, true)
		}
	}
	err := r.d.apply(ctx, changes)
	refused := r.settle(jobs, changes, err)
	for _, c := range refused {
		r.cfg.Superseded(c.user, c.route)
	}
	return err == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrUnknown)
}

// settle notes what came of a transaction, and returns what was refused. What failed
// waits again, behind the others.
func (r *Registrar) settle(jobs []*job, changes []change, err error) (refused []change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Transactions++
	for _, job := range jobs {
		s := r.slots[job.key]
		s.busy = false
		switch {
		case errors.Is(err, ErrConflict) || errors.Is(err, ErrUnknown):
			r.stats.Retried++
		case err != nil:
			r.stats.Failed++
		case job.add != nil && changes[job.from].refused:
			r.stats.Refused++
			refused = append(refused, changes[job.from])
			r.doneLocked(s, job)
		case job.add != nil:
			r.stats.Registered++
			r.doneLocked(s, job)
		default:
			r.stats.Removed += uint64(len(job.ends))
			r.doneLocked(s, job)
		}
		if s.add == nil && len(s.ends) == 0 {
			r.dropLocked(job.key, s)
			continue
		}
		r.queue = append(r.queue, job.key)
	}
	return refused
}

// doneLocked takes from the slot what the store has learned; what was added since
// stays.
func (r *Registrar) doneLocked(s *slot, job *job) {
	if s.add == job.add {
		s.add, s.tried = nil, false
	}
	known := 0
	for known < len(job.ends) && known < len(s.ends) && s.ends[known] == job.ends[known] {
		known++
	}
	s.ends = s.ends[known:]
}
