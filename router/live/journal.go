package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
)

// JournalInterval is how often a Journal writes: what a process that is killed
// has not written yet.
const JournalInterval = 5 * time.Second

const (
	// journalSlack is what a file may have beyond twice its size when it was last
	// written anew, in bytes.
	journalSlack = 1 << 20
	// rewriteAfter is how many intervals after an erasure the file is written anew, and
	// failedWait how many after an error: a minute each.
	rewriteAfter = 12
	failedWait   = 12
	// pieceBytes is how much is put together for one write.
	pieceBytes = 256 << 10
)

// ErrJournalClosed refuses what a Journal that was closed can't write.
var ErrJournalClosed = errors.New("router/live: the file of last seen times is closed")

// JournalConfig of a Journal.
type JournalConfig struct {
	Router *Router
	Path   string // of the file; one process at a time has it
	Logger *slog.Logger
	Ticks  <-chan time.Time // one every JournalInterval; nil: a ticker
}

// Journal keeps in a file when users were last seen, so that a new process knows.
// It writes what changed, every JournalInterval; a user who comes or goes waits for
// nothing. What it can't write it writes later: only Forget fails.
type Journal struct {
	cfg    JournalConfig
	router *Router
	asks   chan chan error
	stop   chan struct{}
	once   sync.Once
	run    sync.WaitGroup

	// What follows is the run goroutine's, and Close's when that has ended.
	file    *os.File // nil: not written yet
	size    int64
	sizeMax int64
	whole   bool   // the next write is of everything
	rewrite int    // intervals until it is; 0: it need not be
	wait    int    // intervals to pass without a write, after an error
	failed  bool   // the last write did
	buf     []byte // between two writes

	taken                      atomic.Int64 // changes on their way to the file
	bytes                      atomic.Int64 // size of the file
	writes, rewrites, failures atomic.Uint64
}

// JournalStats of a Journal.
type JournalStats struct {
	Users     int    // whose last time is remembered
	Unwritten int    // users who changed since the file was written
	Bytes     int64  // size of the file
	Writes    uint64 // of changes
	Rewrites  uint64 // of the whole file
	Failures  uint64
}

// OpenJournal tells the router what the file says and has it collect what changes.
// A file that is missing or damaged says nothing; that is logged. No session may be
// registered yet. The file is written anew, so that nothing is appended to damage.
func OpenJournal(cfg JournalConfig) *Journal {
	j := &Journal{cfg: cfg, router: cfg.Router, asks: make(chan chan error), stop: make(chan struct{}), whole: true}
	src, err := os.ReadFile(cfg.Path)
	var told journal
	if err == nil {
		told, err = parseJournal(src)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		cfg.Logger.Info("when users were last seen is not known: there is no file of it yet", "file", cfg.Path)
	case err != nil:
		cfg.Logger.Warn("when users were last seen is not known: the file can't be read and is written anew", "file", cfg.Path, "err", err)
	case told.torn:
		cfg.Logger.Warn("the last write to the file of last seen times was cut short and does not count", "file", cfg.Path)
	}
	j.router.recall(&told)
	j.router.collect()
	j.tick()
	return j
}

// Start begins to write what changes.
func (j *Journal) Start() {
	j.run.Go(func() {
		ticks := j.cfg.Ticks
		if ticks == nil {
			t := time.NewTicker(JournalInterval)
			defer t.Stop()
			ticks = t.C
		}
		for {
			select {
			case <-j.stop:
				return
			case done := <-j.asks:
				done <- j.flush()
			case <-ticks:
				j.tick()
			}
		}
	})
}

// Close writes once more and returns when all has ended. What sessions are left
// count as seen until now.
func (j *Journal) Close() {
	j.once.Do(func() {
		close(j.stop)
		j.run.Wait()
		j.whole = j.whole || j.rewrite > 0 // no name of who was erased stays
		if err := j.flush(); err != nil {
			j.cfg.Logger.Warn("when users were last seen is not written down", "err", err)
		}
		if j.file != nil {
			_ = j.file.Close() // synced, or told
		}
	})
}

// Forget removes a user whose account was erased: from memory at once, for a later
// process when it returns nil, and his name from the file within a minute. If he has
// a session, its end is not remembered.
func (j *Journal) Forget(ctx context.Context, user godwit.UserID) error {
	j.router.forget(user)
	done := make(chan error, 1)
	select {
	case j.asks <- done:
	case <-j.stop:
		return ErrJournalClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := <-done; err != nil {
		return fmt.Errorf("forget when %s was last seen: %w", user, err)
	}
	return nil
}

// Stats may be called at any time.
func (j *Journal) Stats() JournalStats {
	users, unwritten := j.router.counts() // before taken: what goes from one to the other counts in both
	return JournalStats{
		Users: users, Unwritten: unwritten + int(j.taken.Load()), Bytes: j.bytes.Load(),
		Writes: j.writes.Load(), Rewrites: j.rewrites.Load(), Failures: j.failures.Load(),
	}
}

// tick writes what there is to write, unless the last write failed just now.
func (j *Journal) tick() {
	if j.rewrite > 0 {
		if j.rewrite--; j.rewrite == 0 {
			j.whole = true
		}
	}
	if j.wait > 0 {
		j.wait--
		return
	}
	err := j.write()
	if err != nil && !j.failed {
		j.cfg.Logger.Error("when users were last seen can't be written down; it is tried again", "err", err)
	}
	if j.failed = err != nil; j.failed {
		j.wait = failedWait
	}
}

// flush writes now, so that it outlives a loss of power. What is appended may be
// that somebody was erased: his name goes when the file is written anew.
func (j *Journal) flush() error {
	before := j.rewrites.Load()
	if err := j.write(); err != nil || j.rewrites.Load() != before {
		return err
	}
	if j.rewrite == 0 {
		j.rewrite = rewriteAfter
	}
	return j.file.Sync()
}

func (j *Journal) write() (err error) {
	now := j.router.clock()
	if !j.whole && j.size <= j.sizeMax {
		err = j.append(now)
	}
	if err == nil && (j.whole || j.size > j.sizeMax) {
		err = j.writeAll(now)
	}
	if err != nil {
		j.whole = true // what was taken from the router is not in the file
		j.failures.Add(1)
		return err
	}
	j.bytes.Store(j.size)
	j.taken.Store(0)
	return nil
}

// append writes what changed. While anybody is online there is always a block: if it
// is the last one, it says until when he was seen.
func (j *Journal) append(now int64) error {
	e := &blocks{buf: j.buf[:0], now: now}
	online, before := false, j.size
	for i := range j.router.shards {
		some, all := j.router.shards[i].takeChanges(e, &j.taken)
		online = online || some
		if !all {
			j.whole = true
			return nil
		}
		if len(e.buf) < pieceBytes {
			continue
		}
		if err := j.writeOut(e); err != nil {
			return err
		}
	}
	if online && j.size == before && len(e.buf) == 0 {
		e.begin()
	}
	if err := j.writeOut(e); err != nil {
		return err
	}
	if j.size > before {
		j.writes.Add(1)
	}
	return nil
}

// writeOut appends what e holds.
func (j *Journal) writeOut(e *blocks) error {
	e.end()
	n, err := j.file.Write(e.buf)
	j.size += int64(n)
	e.buf = e.buf[:0]
	j.buf = e.buf
	return err
}

// writeAll puts a new file in the place of the old one. A crash leaves either.
func (j *Journal) writeAll(now int64) (err error) {
	temporary := j.cfg.Path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	old := j.file
	j.file, j.size = f, 0
	if err = j.writeUsers(now); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temporary, j.cfg.Path)
	}
	if err != nil {
		j.file = old
		return errors.Join(err, f.Close(), os.Remove(temporary))
	}
	if old != nil {
		_ = old.Close() // it has no name any more
	}
	j.sizeMax = 2*j.size + journalSlack
	if err := syncDirectory(filepath.Dir(j.cfg.Path)); err != nil {
		return err
	}
	j.whole, j.rewrite = false, 0
	j.rewrites.Add(1)
	return nil
}

// writeUsers writes the users of one shard after the other.
func (j *Journal) writeUsers(now int64) error {
	e := &blocks{buf: appendJournalHeader(j.buf[:0]), now: now}
	for i := range j.router.shards {
		j.router.shards[i].takeAll(e, &j.taken)
		if err := j.writeOut(e); err != nil {
			return err
		}
	}
	return nil
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
