package wal

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// script is a fixed piece of work that meets every way a file goes: appended to,
// full, rolled from, released, recycled, forgotten, reopened. The background has
// nothing to do between two steps, so every run makes the same calls.
type script struct {
	promise
	files []uint64
}

func (s *script) run(cfg Config) (err error) {
	l, _, err := recoverAll(cfg)
	if err != nil {
		return err
	}
	for i := 0; i < 48 && err == nil; i++ {
		if i == 40 {
			if err = l.Close(); err == nil {
				l, _, err = recoverAll(cfg)
			}
		} else {
			err = s.step(l, i)
		}
		if l != nil {
			l.spare.group.Wait()
		}
	}
	if l == nil {
		return err
	}
	final := l.Close()
	if err == nil {
		return final
	}
	if !l.closed || l.failed == nil && !errors.Is(err, ErrSyncFailed) && !errors.Is(err, ErrWriteFailed) {
		return errors.Join(errors.New("the error is not final"), err)
	}
	return err
}

func (s *script) step(l *Log, i int) error {
	switch {
	case i%4 == 3 && l.Stats().OldestFile < l.File():
		s.cut = slices.IndexFunc(append(s.files, l.File()), func(f uint64) bool { return f >= l.File() })
		return l.Release(l.File() - 1)
	case i%12 == 6:
		return l.Roll()
	case i == 30:
		return l.Forget()
	case i%12 == 9:
		return l.Idle()
	}
	s.want = append(s.want, testRecord(1000+i, 200*(i%8)))
	if err := l.Append(s.want[len(s.want)-1:]); err != nil {
		return err
	}
	s.files = append(s.files, l.File())
	if err := l.Sync(); err != nil {
		return err
	}
	s.acked = len(s.want)
	return nil
}

// survived recovers several states of the disk, then what is in the cache; and
// what the cache gave must be on the disk from then on.
func (s *script) survived(t *testing.T, k int, fs *crashFS) {
	t.Helper()
	images := func() (images []*crashFS) {
		for seed := range uint64(4) {
			images = append(images, fs.powerFailure(rand.New(rand.NewPCG(seed, uint64(k)))))
		}
		return images
	}
	for i, image := range append(images(), fs) {
		skipped, got := s.recovered(t, k, i, image)
		if image == fs {
			s.promise = promise{got, len(got), max(0, s.cut-skipped)}
		}
	}
	for i, image := range images() {
		s.recovered(t, k, i, image)
	}
}

func (s *script) recovered(t *testing.T, k, i int, image *crashFS) (skipped int, got []Record) {
	t.Helper()
	l, got, err := recoverAll(oneSizeConfig(image))
	if err != nil {
		t.Fatalf("fault %d, image %d: %v", k, i, err)
	}
	skipped, lost, phantom := s.kept(got)
	if lost != nil || phantom != nil {
		t.Fatalf("fault %d, image %d: %v %v", k, i, lost, phantom)
	}
	must(t, l.Close())
	return skipped, got
}

func TestFailureOfAnySyncIsFinalAndLosesNothing(t *testing.T) {
	for k := 0; ; k++ {
		fs, s := newCrashFS(), script{}
		left := k
		fs.failSync = func(string) bool { left--; return left == -1 }
		err := s.run(oneSizeConfig(fs))
		if left >= 0 {
			must(t, err)
			t.Logf("%d syncs", k)
			break
		}
		if !errors.Is(err, ErrSyncFailed) {
			t.Fatalf("sync %d: %v", k, err)
		}
		fs.failSync = nil
		s.survived(t, k, fs)
	}
}

func TestFullDiskAtAnyWriteLosesNothing(t *testing.T) {
	f := func(name string, stays bool) {
		t.Run(name, func(t *testing.T) {
			final, overcome, recycling, noFile := 0, 0, 0, 0
			for k := 0; ; k++ {
				fs, s := newCrashFS(), script{}
				left := k
				fs.failWrite = func(name string) error {
					left--
					if left >= 0 || left < -1 && !stays {
						return nil
					}
					if strings.HasSuffix(name, poolSuffix) && left == -1 {
						recycling++ // or a frame in a recycled file
					}
					return syscall.ENOSPC
				}
				err := s.run(oneSizeConfig(fs))
				if left >= 0 {
					must(t, err)
					t.Logf("%d writes: %d failures were final, %d were overcome, %d left no room for a file, %d hit recycled files",
						k, final, overcome, noFile, recycling)
					break
				}
				switch {
				case err == nil:
					overcome++
				case errors.Is(err, ErrNoSpace):
					noFile++ // had no effect
				case errors.Is(err, ErrWriteFailed) && errors.Is(err, syscall.ENOSPC):
					final++
				default:
					t.Fatalf("write %d: %v", k, err)
				}
				fs.failWrite = nil
				s.survived(t, k, fs)
			}
			if final == 0 || recycling == 0 || !stays && overcome == 0 || stays && noFile == 0 {
				t.Error("the test does not test")
			}
		})
	}
	f("once", false)
	f("for good", true)
}

// A log with a recycled file in use and a recycled spare, both with whole frames
// of their former lives.
func TestEveryFlippedByteOfARecycledLogIsCorruptionOrHarmless(t *testing.T) {
	fs := newCrashFS()
	l, _ := mustOpen(t, oneSizeConfig(fs))
	want := fill(t, l, 6, nil)
	must(t, l.Release(5))
	settle(t, l)
	want = fill(t, l, 8, want)
	settle(t, l)
	if !l.current.used || l.spare.ready == nil || !l.spare.ready.used {
		t.Fatal("the test does not test")
	}
	must(t, l.Close())
	for name := range fs.names {
		if strings.HasSuffix(name, poolSuffix) {
			delete(fs.names, name) // never read
		}
	}
	want = recordsFrom(t, fs, want)
	flips, refused := flipEveryByte(t, fs, oneSizeConfig, want)
	if least := len(want) * (frameHeaderBytes + recordHeaderBytes + 100); refused < least && !raceEnabled {
		t.Errorf("%d of %d flips refused, expected at least %d", refused, flips, least)
	}
	t.Logf("%d of %d flips refused", refused, flips)
}

// recordsFrom is the end of want that an undamaged recovery gives.
func recordsFrom(t *testing.T, fs *crashFS, want []Record) []Record {
	t.Helper()
	l, got := mustOpen(t, oneSizeConfig(fs.clone()))
	must(t, l.Close())
	want = want[len(want)-len(got):]
	must(t, samePrefix(got, want))
	return want
}
