package wal

import "fmt"

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
	first := l.oldest
	l.oldest = file + 1
	if err := l.makeRoom(0); err != nil {
		return l.fail(err)
	}
	if err := l.writeTrailer(); err != nil {
		return l.fail(err)
	}
	if err := l.syncCurrent(); err != nil {
		return l.fail(err)
	}
	for ; first <= file; first++ {
		if err := l.cfg.FS.Remove(l.cfg.FS.PathJoin(l.cfg.Dir, fileName(first))); err != nil {
			return l.fail(fmt.Errorf("wal: remove %s: %w", fileName(first), err))
		}
		if err := syncDir(l.cfg.FS, l.cfg.Dir); err != nil {
			return l.fail(err)
		}
	}
	l.countFiles()
	return nil
}

// Forget makes sure that what was written up to now vanishes from the disk when
// its files are released.
func (l *Log) Forget() error { return l.Roll() }
