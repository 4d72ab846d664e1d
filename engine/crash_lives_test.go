package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/godwit-im/godwit"
)

// A life is a store with everything on and everything small, so that
// checkpoints, merges, releases and recycling of the WAL, erasures and passes of
// the eraser happen all the time. Its power fails at some of its file
// operations: each time a clone of what the disk would hold is set aside. When
// the life is over every clone is opened and compared with what was promised at
// its moment; one of them is the disk of the next life.

const (
	lifeLogs   = 6
	lifeWindow = 4 // commands in flight per log
)

// crashPoint is a disk after a power loss, and what must be on it.
type crashPoint struct {
	at, percent int
	disk        *vfs.MemFS
	opened      bool // Open had returned
	// Per log: commands answered before the loss, and commands that were proposed
	// at some time. Per group the same for times of expiry.
	acked, proposed           []int
	expiredAcked, expiredMost []int64
}

// lifeLog is a log, its model and how far its commands are answered.
type lifeLog struct {
	mu sync.Mutex
	ledgerLog
	acked int
}

// life runs on a disk until it is closed.
type life struct {
	disk    *vfs.MemFS
	groups  int
	rng     *rand.Rand // of the goroutine that runs the life
	clock   *atomic.Int64
	logs    [lifeLogs]*lifeLog
	terms   []uint64 // of the life before, per group
	ops     atomic.Int64
	every   int64 // a crash about every so many operations
	nextOp  atomic.Int64
	store   *Store
	counts  *lifeCounts
	ready   atomic.Bool
	erasing bool // files are searched for erased bytes: nothing is compressed
	fatal   atomic.Pointer[error]
	// fault, if set, fails operations. The life may end early then.
	fault func(op errorfs.Op) error

	expiredAcked, expiredMost []atomic.Int64

	mu     sync.Mutex
	points []*crashPoint
	random *rand.Rand // under mu
}

// lifePointsMax bounds the clones of a life, which live until it is over.
const lifePointsMax = 16

// MaybeError counts operations and crashes before the chosen ones.
func (l *life) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && l.ops.Add(1) == l.nextOp.Load() {
		l.crash()
	}
	if l.fault != nil {
		return l.fault(op)
	}
	return nil
}

func (l *life) String() string { return "life" }

// crash takes the acknowledgements first: each of them must be in the clone.
func (l *life) crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.points) == lifePointsMax {
		return
	}
	for range 100 { // let an acknowledgement that runs ahead of this operation arrive
		runtime.Gosched()
	}
	p := &crashPoint{at: int(l.ops.Load()), percent: []int{0, 100, l.random.IntN(101)}[l.random.IntN(3)], opened: l.ready.Load()}
	for _, log := range l.logs {
		log.mu.Lock()
		p.acked = append(p.acked, log.acked)
		log.mu.Unlock()
	}
	for i := range l.expiredAcked {
		p.expiredAcked = append(p.expiredAcked, l.expiredAcked[i].Load())
	}
	p.disk = l.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.percent, RNG: l.random})
	for _, log := range l.logs {
		log.mu.Lock()
		p.proposed = append(p.proposed, len(log.ops))
		log.mu.Unlock()
	}
	for i := range l.expiredMost {
		p.expiredMost = append(p.expiredMost, l.expiredMost[i].Load())
	}
	l.points = append(l.points, p)
	l.nextOp.Store(l.ops.Load() + 1 + l.random.Int64N(2*l.every))
}

func (l *life) config(fs vfs.FS) Config {
	file := int64(32<<10) << l.rng.IntN(2)
	return Config{
		FS: fs, Dir: "store", Groups: l.groups, CheckReads: true,
		walFileBytes: file, WALBytesMax: file * (4 + l.rng.Int64N(8)), QueueBytesMax: 32 << 10,
		MemtableBytes: int64(8<<10)<<l.rng.IntN(4) + int64(l.groups)<<11,
		CacheBytes:    int64(4<<10) << l.rng.IntN(6), RowCacheBytes: 1 << 20,
		NoCompression: l.erasing || l.rng.IntN(2) == 0,
		EraseWithin:   []time.Duration{time.Nanosecond, time.Hour}[l.rng.IntN(2)],
		Clock:         func() int64 { return l.clock.Add(1) },
		Fatal:         func(err error) { l.fatal.CompareAndSwap(nil, &err) },
	}
}

// run lives once: it opens the disk, works, and closes it.
func (l *life) run(commands int) (err error) {
	cfg := l.config(errorfs.Wrap(l.disk, l))
	if l.store, err = Open(cfg, newLedger(l.groups)); err != nil {
		return lost("open: %w", err)
	}
	l.ready.Store(true)
	failed := make(chan error, lifeLogs+1)
	var workers, janitor sync.WaitGroup
	for i := range l.logs {
		rng := rand.New(rand.NewPCG(l.rng.Uint64(), 1))
		workers.Go(func() { failed <- l.propose(l.logs[i], rng, commands) })
	}
	stop := make(chan struct{})
	rng := rand.New(rand.NewPCG(l.rng.Uint64(), 2))
	janitor.Go(func() { failed <- l.clean(rng, stop) })
	workers.Wait()
	close(stop)
	janitor.Wait()
	for range lifeLogs + 1 {
		err = errors.Join(err, <-failed)
	}
	if err == nil && l.erasing {
		err = l.eraseAll()
	}
	l.counts.add(l.store.Stats())
	if closeErr := l.store.Close(); closeErr != nil && err == nil {
		err = lost("close: %v", closeErr)
	}
	if fatal := l.fatal.Load(); fatal != nil {
		err = errors.Join(err, lost("fatal: %v", *fatal))
	}
	if err == nil && l.erasing {
		err = l.searchErased()
	}
	return err
}

// clean does by hand what the store would do by itself, at other moments.
func (l *life) clean(rng *rand.Rand, stop chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		var err error
		switch rng.IntN(6) {
		case 0:
			err = l.store.Checkpoint()
		case 1:
			err = l.store.EraseNow()
		case 2:
			err = l.expire(rng)
		default:
			for range 200 {
				runtime.Gosched()
			}
		}
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return lost("housekeeping: %w", err)
		}
	}
}

// expire lets go of what is older than some answered entry of a group.
func (l *life) expire(rng *rand.Rand) error {
	log := l.logs[rng.IntN(lifeLogs)]
	log.mu.Lock()
	before := int64(0)
	if n := log.acked; n > 0 && rng.IntN(4) == 0 {
		before = log.ops[rng.IntN(n)].time
	}
	log.mu.Unlock()
	g := l.store.Group(log.id.Partition())
	if before <= l.expiredMost[g].Load() {
		return nil
	}
	l.expiredMost[g].Store(before)
	w := newLedgerWaiter()
	if err := l.store.Propose(g, ledgerCommand('x', log.id, 0, uint64(before), ""), w); err != nil {
		return nil // the queue is full
	}
	if a := <-w.done; a.err != nil {
		return a.err
	}
	l.expiredAcked[g].Store(before)
	return nil
}

// propose keeps a few commands of one log in flight.
func (l *life) propose(log *lifeLog, rng *rand.Rand, commands int) error {
	inFlight := make(chan *ledgerWaiter, lifeWindow)
	finish := func(w *ledgerWaiter) error {
		a := <-w.done
		if a.err != nil {
			return lost("answer: %w", a.err)
		}
		log.mu.Lock()
		defer log.mu.Unlock()
		if op := &log.ops[log.acked]; op.kind == 'a' {
			op.time = a.stamp
		}
		log.acked++
		return nil
	}
	appended, _ := log.state(len(log.ops))
	heads := len(appended)
	for range commands {
		op := l.draw(rng, log, &heads)
		w := newLedgerWaiter()
		log.mu.Lock()
		log.ops = append(log.ops, op)
		log.mu.Unlock()
		for {
			err := l.store.Propose(l.store.Group(log.id.Partition()), op.command(log.id), w)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrUnavailable) || l.fatal.Load() != nil {
				return lost("propose: %w", err)
			}
			runtime.Gosched() // the queue is full
		}
		inFlight <- w
		if len(inFlight) == lifeWindow {
			if err := finish(<-inFlight); err != nil {
				return err
			}
		}
	}
	for len(inFlight) > 0 {
		if err := finish(<-inFlight); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) draw(rng *rand.Rand, log *lifeLog, head *int) ledgerOp {
	conv := 1 + rng.Uint32N(ledgerConvs)
	switch k := rng.IntN(24); {
	case k == 0 && *head > 0:
		return ledgerOp{kind: 'e', upTo: godwit.Seq(1 + rng.IntN(*head))}
	case k <= 2 && *head > 0:
		return ledgerOp{kind: 'c', conv: conv, upTo: godwit.Seq(1 + rng.IntN(*head+3))}
	}
	*head++
	body := fmt.Sprintf("<%x.%d.%x>", uint64(log.id), *head, rng.Uint32())
	return ledgerOp{kind: 'a', conv: conv, body: body + strings.Repeat(".", rng.IntN(2)*rng.IntN(1500))}
}

// eraseAll takes from the disk what was erased in this life and before.
func (l *life) eraseAll() error {
	for {
		err := l.store.EraseNow()
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return lost("erase: %w", err)
		}
	}
}

// searchErased looks for the bodies of erased entries in all files.
func (l *life) searchErased() error {
	var dead []string
	for _, log := range l.logs {
		entries, _ := log.state(len(log.ops))
		expired := l.expiredAcked[l.store.Group(log.id.Partition())].Load()
		for _, e := range entries {
			if e.erased || e.Time != 0 && e.Time < expired {
				body, _, _ := strings.Cut(string(e.Body), ">")
				dead = append(dead, body)
			}
		}
	}
	if len(dead) == 0 {
		return nil
	}
	alive := map[string]bool{}
	for _, body := range dead {
		alive[body] = true
	}
	return eachFile(l.disk, "store", func(name string, data []byte) error {
		for i := range data {
			if data[i] != '<' {
				continue
			}
			if end := slices.Index(data[i:min(len(data), i+64)], '>'); end > 0 && alive[string(data[i:i+end])] {
				return phantom("%s holds the erased %s at byte %d", name, data[i:i+end], i)
			}
		}
		return nil
	})
}

// recovered opens the disk of a crash and compares it with what was promised.
// It returns the logs as they are there.
func (p *crashPoint) recovered(l *life, pageSize int) (logs [lifeLogs]*lifeLog, expired []int64, terms []uint64, err error) {
	cfg := l.config(p.disk)
	cfg.MemtableBytes, cfg.WALBytesMax, cfg.EraseWithin = 16<<20, 16<<20, time.Hour
	s, err := Open(cfg, newLedger(l.groups))
	if err != nil {
		return logs, nil, nil, lost("open: %v", err)
	}
	expired, err = p.checkExpired(s)
	for i, log := range l.logs {
		if err != nil {
			break
		}
		logs[i], err = p.checkLog(s, log, i, expired, pageSize)
	}
	if closeErr := s.Close(); closeErr != nil && err == nil {
		err = lost("close: %v", closeErr)
	}
	for i, g := range s.groups {
		term := g.node.BasicStatus().GetTerm()
		terms = append(terms, term)
		if p.opened && term <= l.terms[i] && err == nil {
			err = wrong("group %d: term %d again, it voted in %d", i, term, l.terms[i])
		}
	}
	return logs, expired, terms, err
}

func (p *crashPoint) checkExpired(s *Store) (expired []int64, err error) {
	for g := range s.groups {
		v := s.View(g)
		row, _ := v.Get(ledgerExpiredKey)
		if v.Err() != nil {
			err = lost("group %d: %v", g, v.Err())
		}
		v.Close()
		at := int64(ledgerNumber(row))
		if at < p.expiredAcked[g] || at > p.expiredMost[g] {
			err = lost("group %d expired before %d, want %d to %d", g, at, p.expiredAcked[g], p.expiredMost[g])
		}
		expired = append(expired, at)
	}
	return expired, err
}

func (p *crashPoint) checkLog(s *Store, log *lifeLog, i int, expired []int64, pageSize int) (*lifeLog, error) {
	g := s.Group(log.id.Partition())
	v := s.View(g)
	n := ledgerCommands(v, log.id)
	err := v.Err()
	v.Close()
	switch {
	case err != nil:
		return nil, lost("log %x: %v", log.id, err)
	case n < p.acked[i]:
		return nil, lost("log %x: %d commands, %d were acknowledged", log.id, n, p.acked[i])
	case n > p.proposed[i]:
		return nil, phantom("log %x: %d commands, %d were proposed", log.id, n, p.proposed[i])
	}
	there := &lifeLog{ledgerLog: ledgerLog{log.id, slices.Clone(log.ops[:n])}, acked: n}
	return there, checkLedgerLog(s, &there.ledgerLog, n, expired[g], pageSize)
}
