package chat

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/godwit-im/godwit"
)

// Bounds of one forward and one ack command.
const (
	forwardItems = 256
	forwardBytes = 256 << 10
	ackLanes     = 256
	backoffTicks = 32 // the longest pause between two attempts
)

// forwarder empties the outbox: one forward per lane is under way at a time, so
// a lane stays in order, and lanes take turns, so a full one delays no other.
// What it holds is a cache of the outbox rows; a doubt is settled by reading
// them again.
type forwarder struct {
	store    Store
	counters *counters
	logger   *slog.Logger
	// LaneItemsMax, LaneBytesMax, OutboxMax. Sends under way when a bound is met
	// may pass it; their number is bounded by the engine's queue.
	laneItemsMax, laneBytesMax, outboxMax int
	epochs                                []uint64 // per source group; set by load

	wake chan struct{} // capacity 1
	stop chan struct{} // closed once, under mu

	mu      sync.Mutex
	loaded  bool
	closed  bool
	now     uint64 // ticks
	lanes   map[laneID]*lane
	ready   []*lane     // in turn; each at most once (lane.queued)
	resting []*lane     // wait for a tick; each at most once (lane.queued)
	acks    []groupAcks // per source group
	items   int         // undelivered items of all lanes

	command []byte // of run
}

// lane is the cached side of one lane's outbox rows. Guarded by forwarder.mu,
// but for what its outstanding forward reads: items are only appended.
// It is in forwarder.lanes while the rows hold items.
type lane struct {
	forwarder *forwarder
	id        laneID
	items     []laneItem // numbers first … last, not yet at the destination
	first     uint64
	last      uint64
	acked     uint64 // rows through here are gone
	since     uint64 // tick when the lane last moved
	bytes     int    // of items
	flying    bool   // a forward is outstanding
	reload    bool   // items were missed or refused: read the rows again
	queued    bool   // in ready or resting
	acking    bool   // in groupAcks.lanes
	attempts  int    // failures in a row
	restUntil uint64 // tick
}

// groupAcks collects the lanes whose items arrived; one ack command per source
// group is outstanding.
type groupAcks struct {
	lanes     []*lane
	flying    bool
	attempts  int
	restUntil uint64
}

func newForwarder(cfg *Config, c *counters) *forwarder {
	return &forwarder{
		store: cfg.Store, counters: c, logger: cfg.Logger,
		laneItemsMax: cfg.LaneItemsMax, laneBytesMax: cfg.LaneBytesMax, outboxMax: cfg.OutboxMax,
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
		lanes: map[laneID]*lane{}, acks: make([]groupAcks, cfg.Store.Groups()),
	}
}

// load finds the lanes that hold items. Called once, before sends are accepted.
func (f *forwarder) load(all []settings) error {
	for g := range all {
		f.epochs = append(f.epochs, all[g].epoch)
	}
	var found []laneID
	for p := range godwit.Partition(godwit.Partitions) {
		if len(all) == 1 {
			break // no lanes within a group
		}
		v := f.store.View(f.store.Group(p))
		prefix := appendKey(nil, p, rowOutbox)
		v.Scan(prefix, func(key, _ []byte) bool {
			r := reader{b: key[len(prefix):]}
			if id := (laneID{p, r.partition()}); len(found) == 0 || found[len(found)-1] != id {
				found = append(found, id)
			}
			return true
		})
		err := v.Err()
		v.Close()
		if err != nil {
			return fmt.Errorf("chat: read the outbox of partition %d: %w", p, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range found {
		l := f.laneLocked(id)
		if err := f.reloadLocked(l); err != nil {
			return err
		}
		f.queueLocked(l)
	}
	f.loaded = true
	f.signal()
	return nil
}

// hasRoom reports whether a send may add an item to the lane.
func (f *forwarder) hasRoom(id laneID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lanes[id]
	return f.items < f.outboxMax && (l == nil || int(l.last-l.acked) < f.laneItemsMax && l.bytes < f.laneBytesMax)
}

// enqueue takes new items from a flush.
func (f *forwarder) enqueue(effects []forwardEffect) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded || f.closed {
		return // load reads the rows
	}
	for i := range effects {
		e := &effects[i]
		l := f.lanes[e.lane]
		if l == nil { // nothing undelivered before it
			l = f.laneLocked(e.lane)
			l.first, l.last, l.acked = e.n, e.n-1, e.n-1
		}
		switch {
		case e.n <= l.last:
		case e.n > l.last+1:
			l.reload = true
		default:
			f.addLocked(l, &e.item)
		}
		f.queueLocked(l)
	}
	f.signal()
}

func (f *forwarder) laneLocked(id laneID) *lane {
	l := f.lanes[id]
	if l == nil {
		l = &lane{forwarder: f, id: id, first: 1, since: f.now}
		f.lanes[id] = l
	}
	return l
}

func (f *forwarder) addLocked(l *lane, it *laneItem) {
	l.items = append(l.items, *it)
	l.last++
	l.bytes += len(it.block)
	f.items++
}

// dropLocked forgets the first n items.
func (f *forwarder) dropLocked(l *lane, n int) {
	for i := range n {
		l.bytes -= len(l.items[i].block)
		l.items[i] = laneItem{}
	}
	f.items -= n
	l.items = l.items[n:]
	l.first += uint64(n)
}

// queueLocked gives a lane with something to do its turn.
func (f *forwarder) queueLocked(l *lane) {
	switch {
	case l.queued || l.flying || len(l.items) == 0 && !l.reload:
	case l.restUntil > f.now:
		l.queued = true
		f.resting = append(f.resting, l)
	default:
		l.queued = true
		f.ready = append(f.ready, l)
	}
}

func (f *forwarder) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// tick ends the rests that are over.
func (f *forwarder) tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	resting := f.resting
	f.resting = f.resting[:0]
	for _, l := range resting {
		l.queued = false
		f.queueLocked(l)
	}
	f.signal()
}

func (f *forwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.stop)
	}
}

// run is the forwarder's goroutine.
func (f *forwarder) run() {
	for {
		select {
		case <-f.stop:
			return
		case <-f.wake:
		}
		for f.forwardNext() {
		}
		for g := range f.acks {
			f.ackNext(g)
		}
	}
}

// forwardNext proposes one forward of the lane whose turn it is.
func (f *forwarder) forwardNext() bool {
	f.mu.Lock()
	if len(f.ready) == 0 || f.closed {
		f.ready = f.ready[:0:0]
		f.mu.Unlock()
		return false
	}
	l := f.ready[0]
	f.ready = f.ready[1:]
	l.queued = false
	if l.reload {
		if err := f.reloadLocked(l); err != nil {
			f.logger.Error("outbox lane can't be read", "source", l.id.src, "destination", l.id.dst, "error", err)
			f.restLocked(l)
			f.mu.Unlock()
			return true
		}
	}
	items, first := l.items[:min(len(l.items), forwardItems)], l.first
	l.flying = len(items) > 0
	f.mu.Unlock()
	if len(items) == 0 {
		return true
	}
	for i, size := 0, 0; i < len(items); i++ {
		if size += len(items[i].block); size > forwardBytes && i > 0 {
			items = items[:i]
		}
	}
	group := f.store.Group(l.id.dst)
	f.command = appendLaneItems(f.command[:0], homeOf(group, f.store.Groups()), l.id, f.epochs[f.store.Group(l.id.src)], first, items)
	if err := f.store.Propose(group, f.command, l); err != nil {
		l.Fail(err)
	}
	return true
}

// appendLaneItems is a forward if all items are messages, else a carry.
func appendLaneItems(dst []byte, home godwit.Partition, lane laneID, epoch, first uint64, items []laneItem) []byte {
	if !slices.ContainsFunc(items, func(it laneItem) bool { return it.kind != itemMessage }) {
		dst = appendForwardHead(dst, home, lane, epoch, first, len(items))
		for i := range items {
			dst = appendForwardItem(dst, &items[i])
		}
		return dst
	}
	dst = appendLaneHead(dst, kindCarry, home, lane, epoch, first, len(items))
	for i := range items {
		dst = appendCarryItem(dst, &items[i])
	}
	return dst
}

// backoff is the pause in ticks after so many failures in a row: 1, 2, 4 …
func backoff(attempts int) uint64 { return min(uint64(1)<<min(attempts, 8), backoffTicks) }

// restLocked puts a lane aside for a while.
func (f *forwarder) restLocked(l *lane) {
	f.counters.forwardsLost.Add(1)
	l.restUntil = f.now + backoff(l.attempts)
	l.attempts++
	f.queueLocked(l)
}

// Fail: the forward may or may not have been applied; sending it again is
// harmless.
func (l *lane) Fail(error) {
	f := l.forwarder
	f.mu.Lock()
	defer f.mu.Unlock()
	l.flying = false
	f.restLocked(l)
}

// applied: the destination said what it holds.
func (l *lane) applied(o *outcome, _ *flushScratch) {
	f := l.forwarder
	f.mu.Lock()
	defer f.mu.Unlock()
	l.flying = false
	switch {
	case o.refusal != nil || o.stale:
		f.logger.Error("outbox lane refused", "source", l.id.src, "destination", l.id.dst, "stale", o.stale, "refusal", o.refusal)
		f.restLocked(l)
	case o.last+1 < l.first:
		// The destination lacks items that this process takes for delivered.
		f.logger.Warn("outbox lane goes back", "source", l.id.src, "destination", l.id.dst, "holds", o.last, "sent", l.first-1)
		l.reload = true
		f.restLocked(l)
	case o.last > l.last:
		f.logger.Error("outbox lane is behind its destination", "source", l.id.src, "destination", l.id.dst, "holds", o.last, "last", l.last)
		l.reload = true
		f.restLocked(l)
	default:
		f.counters.forwarded.Add(o.last + 1 - l.first)
		f.dropLocked(l, int(o.last+1-l.first))
		l.since, l.attempts, l.restUntil = f.now, 0, 0
		f.ackLocked(l)
		f.queueLocked(l)
	}
	f.signal()
}

// reloadLocked reads a lane's rows and the entries they name.
func (f *forwarder) reloadLocked(l *lane) error {
	v := f.store.View(f.store.Group(l.id.src))
	defer v.Close()
	var row laneOutRow
	if value, ok := v.Get(appendLaneOutKey(nil, l.id)); ok && !row.parse(value) {
		return fmt.Errorf("chat: lane row %d→%d does not parse", l.id.src, l.id.dst)
	}
	var rows []outboxRow
	v.Scan(appendOutboxPrefix(nil, l.id), func(_, value []byte) bool {
		var o outboxRow
		if o.parse(value) {
			o.payload = slices.Clone(o.payload)
			rows = append(rows, o)
		}
		return true
	})
	if err := v.Err(); err != nil {
		return fmt.Errorf("chat: read lane %d→%d: %w", l.id.src, l.id.dst, err)
	}
	if uint64(len(rows)) != row.last-row.acked {
		return fmt.Errorf("chat: lane %d→%d has %d rows, counts %d", l.id.src, l.id.dst, len(rows), row.last-row.acked)
	}
	items := make([]laneItem, 0, len(rows))
	for _, o := range rows {
		log := godwit.NewLogID(l.id.src, o.log)
		if o.kind != itemMessage {
			items = append(items, laneItem{kind: o.kind, origin: log, seq: o.seq, time: o.time, block: o.payload})
			continue
		}
		r, ok := v.Entry(log, o.seq)
		if err := v.Err(); err != nil {
			return fmt.Errorf("chat: read lane %d→%d: %w", l.id.src, l.id.dst, err)
		}
		if !ok {
			return fmt.Errorf("chat: lane %d→%d names entry %d of log %d, which is gone", l.id.src, l.id.dst, o.seq, o.log)
		}
		items = append(items, laneItem{origin: log, seq: o.seq, time: r.Time, block: r.Body})
	}
	f.dropLocked(l, len(l.items))
	l.items, l.first, l.last, l.acked, l.reload = items, row.acked+1, row.last, row.acked, false
	for i := range items {
		l.bytes += len(items[i].block)
	}
	f.items += len(items)
	f.forgetLocked(l)
	return nil
}
