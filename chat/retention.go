package chat

import (
	"sync/atomic"
	"time"
)

// retention erases what is older than Config.Retention, and of conversations that
// are kept for a time of their own what is older than that. The clock decides what is
// old, and a clock that has jumped would erase everything: so a look each hour,
// told by ticks and not by the clock, only notes the time before which all is old,
// and what goes is what the look before agreed on. Looks between which the clock
// moved otherwise than the ticks say agree on nothing: the next ones count anew.
// A leader that has just started has made no look, and waits, too.
type retention struct {
	service *Service
	ticks   uint64 // of the tick loop, which owns it
	due     chan struct{}
	goOn    chan struct{} // the sweep has more to do
	pending atomic.Bool   // it has

	// of run
	at    int64 // when the look before was, by the clock
	sweep sweep

	looks, erased, refused atomic.Uint64
}

const (
	retentionEvery = time.Hour
	// retentionSlack is how far the clock may move otherwise than the ticks.
	retentionSlack = 5 * time.Minute
)

func newRetention(s *Service) *retention {
	return &retention{service: s, due: make(chan struct{}, 1), goOn: make(chan struct{}, 1)}
}

// tick counts time. A look that is still under way takes the place of the next.
func (r *retention) tick() {
	next := r.due
	if r.ticks++; r.ticks%uint64(retentionEvery/TickInterval) != 1 {
		if next = r.goOn; !r.pending.Load() {
			return
		}
	}
	select {
	case next <- struct{}{}:
	default:
	}
}

func (r *retention) run() {
	for {
		select {
		case <-r.service.stop:
			return
		case <-r.due:
			r.look()
		case <-r.goOn:
			r.step()
		}
	}
}

func (r *retention) look() {
	s := r.service
	now := s.cfg.Now()
	at := r.at
	r.at = now
	r.looks.Add(1)
	if at == 0 {
		return // the first
	}
	kept := s.cfg.Retention.Milliseconds()
	if moved := time.Duration(now-at) * time.Millisecond; moved < retentionEvery-retentionSlack || moved > retentionEvery+retentionSlack {
		r.refused.Add(1)
		if kept > 0 || r.sweep.rules {
			s.cfg.Logger.Error("the clock jumped: nothing expires until two looks agree again", "moved", moved.String(), "expected", retentionEvery.String())
		}
		r.at, r.sweep.agreed = 0, 0
		return
	}
	agreed := min(at, now)
	if kept > 0 {
		for g := range s.cfg.Store.Groups() {
			r.expire(g, agreed-kept)
		}
	}
	r.sweep = sweep{agreed: agreed}
	r.step()
}

// expire proposes to erase in a group what is older, but nothing that a lane has
// yet to deliver: it is rebuilt from the log.
func (r *retention) expire(group int, before int64) {
	s := r.service
	if oldest := s.forwarder.oldest(group); oldest != 0 {
		before = min(before, oldest)
	}
	if before <= 0 {
		return
	}
	home := homeOf(group, s.cfg.Store.Groups())
	if err := s.cfg.Store.Propose(group, appendEraseExpired(nil, home, before), trimWaiter{}); err != nil {
		s.cfg.Logger.Warn("expiry put off for an hour", "group", group, "err", err)
		return
	}
	r.erased.Add(1)
}

// oldest is the time of the oldest item that leaves a group by lanes, 0 if none
// does. A lane that has to be read again may hold anything.
func (f *forwarder) oldest(group int) (time int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, l := range f.lanes {
		if f.store.Group(id.src) != group {
			continue
		}
		if l.reload {
			return 1
		}
		for i := range l.items {
			if time == 0 || l.items[i].time < time {
				time = l.items[i].time
			}
		}
	}
	return time
}
