package wal

import (
	"errors"
	"fmt"
	"slices"
)

// File returns the sequence of the current file: after Append, that of the frame.
func (l *Log) File() uint64 { return l.current.sequence }

// Roll goes on in the next file now. It does nothing if the current file holds no
// frame yet. Everything appended is durable when it returns.
func (l *Log) Roll() error {
	if err := l.usable(); err != nil || l.firstIn == 0 {
		return err
	}
	return l.fail(l.switchFile(0))
}

// Release says that nobody needs the files up to and including this one: what
// their records mean stands synced elsewhere or in newer files. The current file
// can't be released. Everything appended is durable when it returns. After a
// crash Open may replay a released file once more.
func (l *Log) Release(file uint64) error {
	if err := l.usable(); err != nil || file < l.oldest {
		return err
	}
	if file >= l.current.sequence {
		panic(fmt.Sprintf("BUG: wal: file %d is released, but %d is the current one", file, l.current.sequence))
	}
	before := l.oldest
	l.oldest = file + 1
	if err := l.makeRoom(0); err != nil {
		if errors.Is(err, ErrNoSpace) {
			l.oldest = before
		}
		return l.fail(err)
	}
	if l.oldestClaimed < l.oldest { // else a seal says it
		if err := l.writeTrailer(); err != nil {
			return l.fail(err)
		}
	}
	if err := l.syncCurrent(); err != nil {
		return l.fail(err)
	}
	l.dropReleased()
	l.countFiles()
	return nil
}

// Unlinked reports whether every released file has lost its name or went to the
// pool, and every file that may not be used again is unlinked. An error says why
// that will not come by waiting. Any goroutine.
func (l *Log) Unlinked() (bool, error) { return l.spare.idle() }

// dropReleased gives the files that the log durably does without to the background.
func (l *Log) dropReleased() {
	n := 0
	for ; n < len(l.live) && l.live[n].sequence < l.oldest; n++ {
		l.live[n].forget = l.live[n].sequence <= l.forgetUpTo
	}
	l.spare.release(l.live[:n])
	l.live = slices.Delete(l.live, 0, n)
}

// Forget makes every byte written up to now vanish from the disk when its file is
// released: the log goes on in a file that never held anything, the pool is
// unlinked, and no file that exists now will be recycled. Everything appended is
// durable when it returns. It may take as long as writing a file of FirstFileBytes.
func (l *Log) Forget() error {
	if err := l.usable(); err != nil {
		return err
	}
	next, err := l.spare.takeFresh(l.current)
	if err == nil {
		err = l.goOnIn(next)
	}
	if err != nil {
		return l.fail(noSpace(err))
	}
	l.forgetUpTo = l.current.sequence - 1
	return nil
}
