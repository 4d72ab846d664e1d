package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	readyTime = 60 * time.Second // for a store of a few MiB to open
	endTime   = 60 * time.Second // to write a few entries and to close
)

// subject is one store, the file system it lies on, and what it must hold.
type subject struct {
	*disk
	plan  roundPlan
	model *model
	life  uint32
	rng   *rand.Rand // for stir
	keep  string     // where to copy what is opened next, or empty
}

func newSubject(d *disk, p roundPlan, keep string) *subject {
	return &subject{disk: d, plan: p, model: newModel(p.seed), rng: rand.New(rand.NewPCG(p.seed, 1)), keep: keep}
}

// launch is the next life.
func (s *subject) launch() launch {
	s.life++
	return launch{spec: childSpec{
		Dir: filepath.Join(s.dir, "store"), Seed: s.plan.seed, Life: s.life,
		Groups: s.plan.groups, Memtable: s.plan.memtable, WAL: s.plan.wal,
	}}
}

// ending waits until it is time for the life to end.
type ending func(ctx context.Context, p *process) error

// errHung: a child did not get on. It ends the life, and is a violation.
var errHung = errors.New("no progress")

// live mounts, runs one life until its ending, takes the power if off is not 0,
// and unmounts. An error is of this tool or its user; what the store did wrong
// is in the result.
func (s *subject) live(ctx context.Context, l launch, end ending, off uint32) (h heard, err error) {
	if err := s.mount(); err != nil {
		if s.life == 1 {
			return h, err
		}
		return heard{violations: []violation{{kindNotOpened, err.Error()}}}, nil
	}
	defer func() { err = errors.Join(err, s.unmount()) }()
	if err := s.copyStore(); err != nil {
		return h, err
	}
	e := newEars(s.model)
	p, err := start(l, e)
	if err != nil {
		return h, err
	}
	defer p.end()
	waited := end(ctx, p)
	if waited != nil && !errors.Is(waited, errHung) {
		return h, waited
	}
	stopped := p.halted()
	if off != 0 {
		e.doubt()
		if err := s.powerOff(off); err != nil {
			return h, err
		}
	}
	if waited != nil {
		p.abort()
	}
	p.end()
	h = e.result()
	h.stderr = p.stderr.String()
	h.fatal, h.failed = strings.ReplaceAll(h.fatal, s.dir, "DISK"), strings.ReplaceAll(h.failed, s.dir, "DISK")
	switch {
	case errors.Is(p.err, errLine):
		return h, p.err
	case waited != nil:
		h.violations = append(h.violations, violation{kindHung, fmt.Sprintf("life %d: %v", s.life, waited)})
	case stopped && h.failed != "":
		h.violations = append(h.violations, violation{kindNotOpened, fmt.Sprintf("life %d: %s", s.life, h.failed)})
	case stopped && !h.closed:
		h.violations = append(h.violations, violation{kindCrashed, fmt.Sprintf("life %d: %s, %v", s.life, h.fatal, p.err)})
	}
	return h, nil
}

// halted reports whether the child ended, or its engine, without being killed.
func (p *process) halted() bool {
	select {
	case <-p.ears.halted:
		return true
	case <-p.ended:
		return true
	default:
		return false
	}
}

// copyStore keeps what the next child will open.
func (s *subject) copyStore() error {
	store := filepath.Join(s.dir, "store")
	if _, err := os.Stat(store); s.keep == "" || err != nil {
		return nil
	}
	if err := os.RemoveAll(s.keep); err != nil {
		return err
	}
	return os.CopyFS(s.keep, os.DirFS(store))
}

// wait waits for one of: the event, the end of the child, the time, ctx.
func (p *process) wait(ctx context.Context, event <-chan struct{}, d time.Duration) (timedOut bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-event:
	case <-p.ended:
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	return false, nil
}

// pass lets time pass, but less if the engine stops.
func (p *process) pass(ctx context.Context, d time.Duration) error {
	_, err := p.wait(ctx, p.ears.halted, d)
	return err
}

// opened waits until the store is open and was read.
func (p *process) opened(ctx context.Context) error {
	ready := p.ears.ready
	timer := time.NewTimer(readyTime)
	defer timer.Stop()
	select {
	case <-ready:
	case <-p.ears.halted:
	case <-p.ended:
	case <-timer.C:
		return fmt.Errorf("%w: not open after %v", errHung, readyTime)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// planned is the ending of a life whose power fails.
func (s *subject) planned(l lifePlan) ending {
	return func(ctx context.Context, p *process) error {
		if l.after != cutAfterStart {
			if err := p.opened(ctx); err != nil {
				return err
			}
		}
		if l.after == cutAfterClose {
			if err := p.pass(ctx, l.run); err != nil {
				return err
			}
			p.askToClose()
		}
		if err := p.pass(ctx, l.delay); err != nil {
			return err
		}
		if l.stir {
			return s.stir(s.rng)
		}
		return nil
	}
}

// untilClosed is the ending of a life that writes what it was told to.
func untilClosed(ctx context.Context, p *process) error {
	if err := p.opened(ctx); err != nil {
		return err
	}
	timedOut, err := p.wait(ctx, p.ended, endTime)
	if timedOut {
		err = fmt.Errorf("%w: not closed after %v", errHung, endTime)
	}
	return err
}

// untilHalted is the ending of a life whose disk fails.
func untilHalted(ctx context.Context, p *process) error {
	if err := p.opened(ctx); err != nil {
		return err
	}
	timedOut, err := p.wait(ctx, p.ears.halted, endTime)
	if timedOut {
		err = fmt.Errorf("%w: the engine has not stopped after %v", errHung, endTime)
	}
	return err
}
