package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lastEntries is what the last lives of a round write to each log.
const lastEntries = 12

// runner does the rounds. All on one goroutine, locked to its thread.
type runner struct {
	options
	report   *report
	progress func(format string, args ...any)
}

// errStopped: with -keep the first violation ends the run.
var errStopped = errors.New("stopped at the first violation; the store is kept")

// run does everything and fills the report. Its error is of the tool or the
// user.
func (r *runner) run(ctx context.Context) error {
	for n := range r.Rounds {
		if err := r.round(ctx, n); err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
	}
	if err := r.failingDisks(ctx); err != nil {
		return err
	}
	return r.controls(ctx)
}

// round runs lives on a fresh file system, and at last two that close cleanly:
// the store must accept entries after all that, and keep them.
func (r *runner) round(ctx context.Context, number int) error {
	return r.onFreshDisk(ctx, number, func(s *subject) error {
		before := r.report.Total
		name := fmt.Sprintf("round %d", number+1)
		for _, l := range s.plan.lives {
			h, err := s.live(ctx, s.launch(), s.planned(l), l.flags)
			if err != nil {
				return err
			}
			r.report.Total.PowerFailures++
			r.report.Total.Cuts[l.after.String()]++
			if err := r.note(fmt.Sprintf("%s, life %d", name, s.life), h); err != nil {
				return err
			}
		}
		if err := r.lastLives(ctx, s, name); err != nil {
			return err
		}
		r.report.Total.Rounds++
		r.tell(s, before)
		return nil
	})
}

// tell prints what a round did.
func (r *runner) tell(s *subject, before total) {
	t := r.report.Total
	var done []string
	for i, name := range statNames {
		done = append(done, fmt.Sprintf("%s %d", name, t.Stats[i]-before.Stats[i]))
	}
	r.progress("round %d/%d, %s, %d groups: %d lives, %d acked, %s; violations so far: %d", t.Rounds, r.Rounds,
		s.filesystem, s.plan.groups, t.Lives-before.Lives, t.Acked-before.Acked, strings.Join(done, ", "), r.report.violations())
}

// lastLives are two that end well.
func (r *runner) lastLives(ctx context.Context, s *subject, name string) error {
	for range 2 {
		h, err := s.lastLife(ctx)
		if err != nil {
			return err
		}
		if err := r.note(fmt.Sprintf("%s, last life %d", name, s.life), h); err != nil {
			return err
		}
	}
	return nil
}

func (s *subject) lastLife(ctx context.Context) (heard, error) {
	l := s.launch()
	l.spec.Entries = lastEntries
	h, err := s.live(ctx, l, untilClosed, 0)
	want := uint64(proposers * logsPerProposer * lastEntries)
	if err == nil && len(h.violations) == 0 && (!h.closed || h.acked != want) {
		h.violations = append(h.violations, violation{kindCrashed, fmt.Sprintf("%d of %d entries acknowledged, closed %t", h.acked, want, h.closed)})
	}
	return h, err
}

// note counts what came of a life.
func (r *runner) note(name string, h heard) error {
	r.report.note(name, h)
	if len(h.violations) == 0 {
		return nil
	}
	for _, v := range h.violations[:min(len(h.violations), 5)] {
		r.progress("%s: %s: %s", name, v.kind, v.text)
	}
	if h.stderr != "" {
		r.progress("%s: the child's stderr:\n%s", name, h.stderr)
	}
	if r.Keep != "" {
		return errStopped
	}
	return nil
}

const (
	tmpfsBytes     = 24 << 20
	tmpfsDiskBytes = 64 << 20
	tmpfsGrown     = 96 << 20
	// strace counts the syncs of each thread by itself.
	straceFailFrom = 40
)

// straceCommand runs a child with faults planted into its syncs.
func straceCommand(fault string) []string {
	return []string{
		"strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
		"-e", "signal=none", "-e", "inject=fsync,fdatasync:" + fault,
	}
}

// shutdowns is how often a file system is shut down under an engine that may go on.
const shutdowns = 3

// failingDisks lets syncs fail: the engine must stop, and nothing that it
// acknowledged, before or after, may be missing afterwards.
func (r *runner) failingDisks(ctx context.Context) error {
	if err := r.fullBacking(ctx); err != nil {
		return fmt.Errorf("full backing file: %w", err)
	}
	err := r.onFreshDisk(ctx, -1, func(s *subject) error {
		l := s.launch()
		l.wrap = straceCommand(fmt.Sprintf("error=EIO:when=%d+", straceFailFrom))
		return r.failingDisk(ctx, s, l, untilHalted, "EIO injected into fsync by strace", nil)
	})
	for n := 0; n < shutdowns && err == nil; n++ {
		err = r.onFreshDisk(ctx, -2-n, func(s *subject) error {
			end := func(ctx context.Context, p *process) error {
				err := p.opened(ctx)
				if err == nil {
					err = p.pass(ctx, time.Duration(n+1)*400*time.Millisecond)
				}
				if err == nil {
					err = s.powerOff(shutdownNoLogFlush)
				}
				if err != nil {
					return err
				}
				return untilHalted(ctx, p)
			}
			return r.failingDisk(ctx, s, s.launch(), end, "EIO from a file system that was shut down", nil)
		})
	}
	return err
}

// onFreshDisk runs f with a store to be.
func (r *runner) onFreshDisk(ctx context.Context, number int, f func(*subject) error) (err error) {
	p := planRound(r.Seed, number, r.Filesystems[max(number, 0)%len(r.Filesystems)])
	d, err := newDisk(ctx, r.Work, p.filesystem, r.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	return f(newSubject(d, p, r.Keep))
}

// fullBacking has the disk's own file run out of room.
func (r *runner) fullBacking(ctx context.Context) (err error) {
	dir := filepath.Join(r.Work, "tmpfs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	resize := func(flags uintptr, bytes int) error {
		return unix.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("size=%d", bytes))
	}
	if err := resize(0, tmpfsBytes); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH), os.Remove(dir)) }()
	d, err := newDisk(ctx, dir, "ext4", tmpfsDiskBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	// The loop driver takes a short write for a whole one (seen with Linux 6.18):
	// then a synced file has holes, and nobody was told. One page is never short.
	restore, err := d.limitRequests(4)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	s := newSubject(d, planRound(r.Seed, -9, "ext4"), r.Keep)
	return r.failingDisk(ctx, s, s.launch(), untilHalted, "write-back fails: loop device on a full tmpfs", func() error {
		return resize(unix.MS_REMOUNT, tmpfsGrown)
	})
}

// failingDisk lives until the disk fails, takes the power, repairs the disk and
// looks what is left.
func (r *runner) failingDisk(ctx context.Context, s *subject, l launch, end ending, name string, repair func() error) error {
	h, err := s.live(ctx, l, end, shutdownNoLogFlush)
	if err != nil {
		return err
	}
	f := failing{Name: name, Acked: h.acked, AckedLate: h.ackedLate, Stopped: h.fatal != "", Error: h.fatal}
	// That the engine stopped is what it should do.
	h.violations = withoutKind(h.violations, kindCrashed)
	if !f.Stopped {
		h.violations = append(h.violations, violation{kindNotStopped, name + ": " + h.failed})
	}
	if err := r.note(name, h); err != nil {
		return err
	}
	if repair != nil {
		if err := repair(); err != nil {
			return err
		}
	}
	r.report.Failing = append(r.report.Failing, f)
	r.progress("%s: %d acked, stopped %t: %s", name, f.Acked, f.Stopped, f.Error)
	return r.lastLives(ctx, s, name)
}

func withoutKind(all []violation, kind string) (rest []violation) {
	for _, v := range all {
		if v.kind != kind {
			rest = append(rest, v)
		}
	}
	return rest
}

const (
	controlTries = 3 // a fault loses something nearly always
	controlTime  = 1500 * time.Millisecond
)

// controls plant faults that must be found, or all of the above proves nothing.
func (r *runner) controls(ctx context.Context) error {
	for _, c := range []struct {
		name  string
		plant func(*launch)
	}{
		{"fsync and fdatasync do nothing (strace)", func(l *launch) { l.wrap = straceCommand("retval=0") }},
		{"acknowledge before fsync (seeded bug)", func(l *launch) {
			l.binary, l.env = r.Seeded, []string{"GODWIT_SEEDED_BUG=ack-before-fsync"}
		}},
	} {
		result := control{Name: c.name}
		for try := 0; try < controlTries && !result.Caught; try++ {
			found, err := r.control(ctx, -10-try, c.plant)
			if err != nil {
				return fmt.Errorf("control %q: %w", c.name, err)
			}
			result.Tries++
			result.Violations = countKinds(found)
			for _, v := range found {
				if v.kind == kindLost || v.kind == kindNotOpened { // what the fault does; anything else is no proof
					result.Caught, result.Example = true, v.kind+": "+v.text
					break
				}
			}
		}
		r.report.Controls = append(r.report.Controls, result)
		r.progress("control: %s: caught %t, %s", c.name, result.Caught, result.Example)
	}
	return nil
}

// control lives once soundly and once with the fault, takes the power, and
// returns what a sound child finds wrong then.
func (r *runner) control(ctx context.Context, number int, plant func(*launch)) (wrong []violation, err error) {
	err = r.onFreshDisk(ctx, number, func(s *subject) error {
		s.keep = ""
		sound, err := s.lastLife(ctx)
		if err != nil {
			return err
		}
		if err := r.note("sound life of a control", sound); err != nil {
			return err
		}
		l := s.launch()
		plant(&l)
		end := s.planned(lifePlan{after: cutAfterReady, delay: controlTime})
		faulty, err := s.live(ctx, l, end, shutdownNoLogFlush)
		if err != nil {
			return err
		}
		if faulty.acked == 0 || len(faulty.violations) > 0 {
			return fmt.Errorf("the life with the fault did not work: %d acked, %v\n%s", faulty.acked, faulty.violations, faulty.stderr)
		}
		after, err := s.lastLife(ctx)
		wrong = after.violations
		return err
	})
	return wrong, err
}
