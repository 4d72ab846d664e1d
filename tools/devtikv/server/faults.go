package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/errorpb"
)

// Faults are what the server does wrong on purpose. The zero value is none.
type Faults struct {
	// Slow delays every answer of both servers.
	Slow time.Duration
	// Undetermined is the share of commits whose answer never comes; half of those
	// took effect.
	Undetermined float64
	// RegionErrors is the share of TiKV's requests that are answered with a region
	// error: the region moved, split, lost its leader, or (one in 32) is busy.
	RegionErrors float64
}

func (f Faults) validate() error {
	for name, share := range map[string]float64{"undetermined": f.Undetermined, "region errors": f.RegionErrors} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("%s: %v is no share between 0 and 1", name, share)
		}
	}
	if f.Slow < 0 {
		return fmt.Errorf("slow: %v is negative", f.Slow)
	}
	return nil
}

// Part names whom an outage befalls.
type Part string

// The parts of a cluster.
const (
	Both Part = "both"
	PD   Part = "pd"
	KV   Part = "kv"
)

// faulter holds the faults of the moment.
type faulter struct {
	mu      sync.Mutex
	faults  Faults
	random  *rand.Rand
	stalled bool
	end     alarm // of the stall
}

func newFaulter(f Faults, seed uint64) *faulter {
	return &faulter{faults: f, random: rand.New(rand.NewPCG(seed, 1))}
}

// roll says whether a fault of this share befalls what is asked now.
func (f *faulter) roll(share func(*Faults) float64) (hit, heads bool, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := share(&f.faults)
	if p == 0 {
		return false, false, 0
	}
	return f.random.Float64() < p, f.random.IntN(2) == 0, f.random.IntN(32)
}

// delay returns how late the next answer is, and whether it comes at all.
func (f *faulter) delay() (slow time.Duration, stalled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.faults.Slow, f.stalled
}

// pause keeps a request that has a goroutine of its own as long as the faults say.
func (f *faulter) pause(ctx context.Context) error {
	slow, stalled := f.delay()
	if stalled {
		<-ctx.Done()
	}
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// stall begins or ends a stall; it ends by itself after d.
func (f *faulter) stall(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = d > 0
	f.end.stop()
	if f.stalled {
		f.end.start(d, func() { f.stall(0) })
	}
}

func (f *faulter) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end.stop()
}

// Faults returns the faults of the moment.
func (s *Server) Faults() Faults {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.faults
}

// SetFaults changes the faults of the moment.
func (s *Server) SetFaults(f Faults) error {
	if err := f.validate(); err != nil {
		return err
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.faults = f
	return nil
}

// Outage cuts every connection of a part and refuses new ones for d; 0 ends it.
func (s *Server) Outage(part Part, d time.Duration) error {
	if part == "" {
		part = Both
	}
	if part != Both && part != PD && part != KV {
		return fmt.Errorf("%q is no part of a cluster: both, pd, kv", part)
	}
	if part != KV {
		s.pdGate.shutFor(d)
	}
	if part != PD {
		s.kvGate.shutFor(d)
	}
	return nil
}

// Stall leaves the connections open and answers nothing for d; 0 ends it. What was
// asked meanwhile is never done, and never answered.
func (s *Server) Stall(d time.Duration) { s.faults.stall(d) }

// regionError makes one of the errors with which a region turns a request away.
func (s *Server) regionError(region uint64, n int) *errorpb.Error {
	meta, leader := s.cluster.GetRegion(region)
	if meta == nil {
		return nil
	}
	switch {
	case n == 0:
		return &errorpb.Error{Message: "busy", ServerIsBusy: &errorpb.ServerIsBusy{Reason: "told to be"}}
	case n < 9:
		return &errorpb.Error{Message: "stale command", StaleCommand: &errorpb.StaleCommand{}}
	case n < 17:
		return &errorpb.Error{Message: "no region", RegionNotFound: &errorpb.RegionNotFound{RegionId: region}}
	case n < 25:
		peer := meta.Peers[0]
		for _, p := range meta.Peers {
			if p.Id == leader {
				peer = p
			}
		}
		return &errorpb.Error{Message: "not leader", NotLeader: &errorpb.NotLeader{RegionId: region, Leader: peer}}
	default:
		return &errorpb.Error{Message: "no leader", NotLeader: &errorpb.NotLeader{RegionId: region}}
	}
}
