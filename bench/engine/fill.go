package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// runFills brings every store to the same number of messages, settles it and
// measures what it takes on disk and how it reads.
func (r *runner) runFills() error {
	for _, s := range r.stores {
		if r.fresh {
			if err := r.leaveRounds(s); err != nil {
				return err
			}
		}
	}
	for _, s := range r.stores {
		if s.name == peerLog { // it has no reads, and its rounds are verified
			if !r.fresh {
				if err := r.leaveRounds(s); err != nil {
					return err
				}
			}
			continue
		}
		if err := r.fillStore(s); err != nil {
			return err
		}
	}
	for _, s := range r.stores {
		if s.name == peerLog {
			continue
		}
		if err := r.readStore(s); err != nil {
			return err
		}
	}
	return nil
}

// leaveRounds verifies the store of the rounds and removes it.
func (r *runner) leaveRounds(s *storeRun) error {
	if err := r.stop(s.child); err != nil {
		return err
	}
	users := sampleUsers(3, s.users, r.sample)
	o := r.plan.open(s.dir, s.users)
	o.Sample = users
	c, _, err := r.start(s.name, o)
	if err != nil {
		return err
	}
	s.child = c
	if err := r.verify(s, users); err != nil {
		return err
	}
	if err := r.stop(s.child); err != nil {
		return err
	}
	return os.RemoveAll(s.dir)
}

func (r *runner) verify(s *storeRun, users []uint32) error {
	if _, err := s.child.call(request{Op: opPrepare, Phases: s.phases, Open: openOptions{Users: s.users}}); err != nil {
		return err
	}
	answer, err := s.child.call(request{Op: opVerify, Phases: s.phases, Users: users})
	if err != nil {
		return err
	}
	r.logf("%s: %d messages are there, those of %d users compared one by one (%.1f s)", s.name, total(s.phases), len(users), answer.Seconds)
	return nil
}

func total(phases []phase) uint64 {
	n := uint64(0)
	for i := range phases {
		n += phases[i].Count
	}
	return n
}

func (r *runner) fillStore(s *storeRun) error {
	if r.fresh {
		s.dir, s.users, s.phases = filepath.Join(r.work, s.name+"-fill"), r.fillUsers, nil
		if err := r.open(s); err != nil {
			return err
		}
	}
	deadline := r.fillDeadline
	if r.budget > 0 {
		deadline = max(500*time.Millisecond, min(deadline, r.budget-time.Since(r.started)-r.settle))
	}
	if have := total(s.phases); have < r.fillMessages {
		var err error
		s.fill, err = r.load(s, loadSpec{
			Phase: phase{Seed: 2, Users: s.users}, Count: r.fillMessages - have,
			Appenders: fillAppenders, Deadline: deadline, Quiet: r.quiet,
		})
		if err != nil {
			return err
		}
		r.logf("%s: filled up to %d messages at %.0f/s", s.name, total(s.phases), s.fill.perSecond())
	}
	device := diskWritten(r.work)
	settled, err := s.child.call(request{Op: opSettle, Settle: r.settle})
	s.device += diskWritten(r.work) - device
	if err != nil {
		return err
	}
	s.messages, s.written = total(s.phases), settled.Usage
	s.cpu += settled.Usage.CPU
	if s.disk, err = readDiskUse(s.dir); err != nil {
		return err
	}
	r.logf("%s: settled in %.1f s, %d MB on disk (%d MB of it the log), %d MB written, %d MB resident",
		s.name, settled.Seconds, s.disk.Bytes>>20, s.disk.WALBytes>>20, s.written.WriteBytes>>20, s.written.RSSBytes>>20)
	return r.stop(s.child)
}

// readStore reopens a settled store in a new process and reads pages.
func (r *runner) readStore(s *storeRun) (err error) {
	if r.cold, err = dropCaches(s.dir, r.ownCaches); err != nil {
		return fmt.Errorf("drop caches: %w", err)
	}
	var opened response
	if s.child, opened, err = r.start(s.name, r.plan.open(s.dir, s.users)); err != nil {
		return err
	}
	s.reopen = opened.Seconds
	if _, err = s.child.call(request{Op: opPrepare, Phases: s.phases, Open: openOptions{Users: s.users}}); err != nil {
		return err
	}
	if _, err = dropCaches(s.dir, r.ownCaches); err != nil {
		return fmt.Errorf("drop caches: %w", err)
	}
	users := sampleUsers(4, s.users, r.pages)
	pages := func() (pageResult, error) {
		answer, err := s.child.call(request{Op: opPages, Users: users})
		return answer.Pages, err
	}
	if s.coldPage, err = pages(); err != nil {
		return err
	}
	for range 2 { // the first warms up
		if s.warmPage, err = pages(); err != nil {
			return err
		}
	}
	r.logf("%s: reopened in %.2f s; page cold p50 %.0f µs p99 %.0f µs, warm p50 %.1f µs p99 %.0f µs, %.1f messages each",
		s.name, s.reopen, s.coldPage.P50, s.coldPage.P99, s.warmPage.P50, s.warmPage.P99,
		float64(s.warmPage.Messages)/float64(max(s.warmPage.Pages, 1)))
	if err := r.verify(s, sampleUsers(3, s.users, r.sample)); err != nil {
		return err
	}
	return r.stop(s.child)
}

// largeResult is what a full run finds about the engine at its size.
type largeResult struct {
	Users, Messages uint64
	FirstRSS, RSS   int64 // settled, with the first users and with all
	Disk            diskUse
	WriteBytes      int64
	ReopenSeconds   float64
	RSSReopened     int64
}

func (l *largeResult) bytesPerUser(first uint32) float64 {
	return float64(l.RSS-l.FirstRSS) / float64(l.Users-uint64(first))
}

func (l *largeResult) reopenPerGB() float64 {
	return l.ReopenSeconds / (float64(l.Disk.data(l.Messages)) / 1e9)
}

// runLarge creates the users for the slope of the resident memory, then fills
// up to where the time to reopen can be measured.
func (r *runner) runLarge() error {
	l := &r.plan.large
	s := &storeRun{name: peerEngine, dir: filepath.Join(r.work, "large"), users: l.users}
	if err := r.open(s); err != nil {
		return err
	}
	end := time.Now().Add(l.deadline)
	grow := func(p phase, first, count uint64) (usage, error) {
		result, err := r.load(s, loadSpec{Phase: p, First: first, Count: count, Appenders: fillAppenders, Deadline: time.Until(end), Quiet: r.quiet})
		if err != nil {
			return usage{}, err
		}
		if p.Spread && result.Count != count {
			return usage{}, fmt.Errorf("large: only %d of %d users were made before the deadline", result.Count, count)
		}
		settled, err := s.child.call(request{Op: opSettle, Settle: 10 * r.settle})
		r.logf("large: %d messages more at %.0f/s, %d MB resident", result.Count, result.perSecond(), settled.Usage.RSSBytes>>20)
		return settled.Usage, err
	}
	everyone := phase{Seed: 5, Users: l.users, Spread: true}
	first, err := grow(everyone, 0, uint64(l.firstUsers))
	if err != nil {
		return err
	}
	all, err := grow(everyone, uint64(l.firstUsers), uint64(l.users-l.firstUsers))
	if err != nil {
		return err
	}
	// Both loads were of one phase.
	s.phases = []phase{{Seed: 5, Users: l.users, Spread: true, Count: total(s.phases)}}
	r.large = largeResult{Users: s.phases[0].Count, FirstRSS: first.RSSBytes, RSS: all.RSSBytes}
	filled, err := grow(phase{Seed: 6, Users: l.users}, 0, l.messages-total(s.phases))
	if err != nil {
		return err
	}
	disk, err := readDiskUse(s.dir)
	if err != nil {
		return err
	}
	r.large.Messages, r.large.Disk, r.large.WriteBytes = total(s.phases), disk, filled.WriteBytes
	if err := r.stop(s.child); err != nil {
		return err
	}
	if _, err := dropCaches(s.dir, r.ownCaches); err != nil {
		return fmt.Errorf("drop caches: %w", err)
	}
	var opened response
	if s.child, opened, err = r.start(s.name, r.plan.open(s.dir, s.users)); err != nil {
		return err
	}
	r.large.ReopenSeconds = opened.Seconds
	used, err := s.child.call(request{Op: opUsage})
	if err != nil {
		return err
	}
	r.large.RSSReopened = used.Usage.RSSBytes
	r.logf("large: %.1f GB reopened in %.2f s", float64(disk.Bytes)/1e9, opened.Seconds)
	if err := r.verify(s, sampleUsers(3, s.users, r.sample)); err != nil {
		return err
	}
	return r.stop(s.child)
}
