package chat

import (
	"container/list"
	"fmt"
	"log/slog"
	"sync"

	"github.com/godwit-im/godwit"
)

// Bounds of the fan-out.
const (
	fanWorkers = 2
	// fanFlyingMax bounds the commands under way to one raft group. Overflow: lanes
	// wait for their turn; they take turns by command, so a large group delays no
	// small one.
	fanFlyingMax = 32
	// fanReadyMax: with so many lanes ready no further group is loaded.
	fanReadyMax = 1024
	// fanListBytesMax bounds the member lists that are kept. Overflow: the one not
	// used for longest is forgotten, and read again when it is needed.
	fanListBytesMax = 64 << 20
	// The entries kept of one group and their bytes, and the bytes of all groups.
	// Overflow: they are forgotten, read from the log when they are needed, and
	// sessions get a hint instead of the entry.
	fanBufferEntriesMax = 1024
	fanBufferBytesMax   = 8 << 20
	fanBufferTotalMax   = 64 << 20
	// fannedTicks is how long a group's fanned mark may lag behind, unless
	// fannedEntries have been fanned out by then.
	fannedTicks   = 10
	fannedEntries = 64
)

// fanouts bring entries of groups' logs to their members' logs. For each group
// and each raft group that has logs of its members there is a lane: it takes
// rounds, each of some consecutive entries to all of these members, one after the
// other, in as many commands as that needs. What is held is a cache: fanned in the
// group's row says what is done, and everything later may be said again.
type fanouts struct {
	service  *Service
	store    Store
	counters *counters
	logger   *slog.Logger
	epochs   []uint64 // per raft group; set by load

	listBytesMax, bufferBytesMax int // fanListBytesMax, fanBufferTotalMax, but in tests

	wake chan struct{} // capacity fanWorkers
	stop chan struct{} // closed once, under mu

	mu        sync.Mutex
	loaded    bool
	closed    bool
	now       uint64 // ticks
	groups    map[string]*fanGroup
	used      list.List // of *fanGroup: what is loaded, the last used first
	listBytes int       // of the groups in it
	buffered  int       // bytes of entries
	loads     []*fanGroup
	to        []fanDestination // per raft group
	turn      int              // of the destinations
	ready     int              // lanes ready at all of them
	resting   []*fanLane
	fanned    []fannedQueue // per raft group
	waiting   map[fanPlace][]*storedSend
}

// fanDestination is the way into one raft group.
type fanDestination struct {
	ready  []*fanLane // in turn; each at most once (lane.queued)
	flying int        // commands
}

// fanGroup is a group whose log has, or lately had, entries that members' logs
// lack. Guarded by fanouts.mu, but for id and conv, which never change.
type fanGroup struct {
	id   string
	conv []byte
	src  int // the raft group of its log

	// as its row said when it was last read
	log      godwit.LogID
	fanned   godwit.Seq
	boundary godwit.Seq
	base     godwit.Seq // fanned when it was first read
	known    godwit.Seq // head at that time: members is right for entries through it

	head    godwit.Seq
	changed godwit.Seq // the newest entry that may have changed members
	missed  bool       // an entry was not seen: the row is to be read
	members *memberList
	leaving []fanLeaving // of its buckets, when members was read
	lanes   []fanLane    // per raft group; nil: not yet loaded

	// entries of from … to that members' logs need, for as long as they may
	entries  []fanEntry
	from, to godwit.Seq
	bytes    int

	queued    bool // in loads
	loading   bool
	attempts  int
	restUntil uint64
	due       bool   // in fannedQueue.due
	dueAt     uint64 // tick
	element   *list.Element
	cost      int // counted in fanouts.listBytes
}

// fanLane is the way of one group's entries into one raft group.
type fanLane struct {
	group     *fanGroup
	dst       int
	through   godwit.Seq // the members' logs there have the entries through here
	round     *fanRound  // under way
	queued    bool       // in ready or resting
	busy      bool       // a worker has it
	attempts  int        // failures in a row
	restUntil uint64
}

func newFanouts(s *Service) *fanouts {
	groups := s.cfg.Store.Groups()
	return &fanouts{
		service: s, store: s.cfg.Store, counters: &s.counters, logger: s.cfg.Logger,
		listBytesMax: fanListBytesMax, bufferBytesMax: fanBufferTotalMax,
		wake: make(chan struct{}, fanWorkers), stop: make(chan struct{}),
		groups: map[string]*fanGroup{}, to: make([]fanDestination, groups), fanned: make([]fannedQueue, groups),
		waiting: map[fanPlace][]*storedSend{},
	}
}

// load finds the groups with something to do. Called once, before sends are accepted.
func (f *fanouts) load(all []settings) error {
	for g := range all {
		f.epochs = append(f.epochs, all[g].epoch)
	}
	var found []string
	for p := range godwit.Partition(godwit.Partitions) {
		v := f.store.View(f.store.Group(p))
		prefix := append(appendKey(nil, p, rowPending), 0, 0)
		v.Scan(prefix, func(key, _ []byte) bool {
			found = append(found, string(key[len(prefix):]))
			return true
		})
		err := v.Err()
		v.Close()
		if err != nil {
			return fmt.Errorf("chat: read the groups of partition %d: %w", p, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range found {
		f.queueGroupLocked(f.newGroupLocked(id))
	}
	f.loaded = true
	f.signal()
	return nil
}

func (f *fanouts) newGroupLocked(id string) *fanGroup {
	g := &fanGroup{id: id, conv: []byte("g:" + id), src: f.store.Group(godwit.GroupID(id).Partition())}
	f.groups[id] = g
	return g
}

// entered takes a new entry of a group's log from a flush. It does not block.
func (f *fanouts) entered(e *groupEffect) {
	var entry fanEntry
	if !entry.of(&e.record) {
		f.logger.Error("entry of a group does not parse", "group", string(e.group), "seq", e.record.Seq)
	}
	if f.take(e, &entry) && entry.flags&fanCounts != 0 {
		// Who writes to a channel has read it: no log says so, unless he does.
		key := markKey{userOf(entry.sender), "g:" + string(e.group)}
		f.service.marks.add(key, 0, entry.seq, nil)
	}
}

// take gives an entry to the lanes. live: it comes by the channel, and its
// sender's log knows that the group is one.
func (f *fanouts) take(e *groupEffect, entry *fanEntry) (live bool) {
	passes := e.channel && !entry.personal // no log needs it
	seq := e.record.Seq
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded || f.closed {
		return false // load reads the rows
	}
	g := f.groups[string(e.group)]
	if g == nil {
		if passes {
			return e.fanned
		}
		g = f.newGroupLocked(string(e.group))
		g.from, g.to = seq, seq-1
	}
	switch {
	case seq <= g.to:
		return false
	case seq > g.to+1:
		f.forgetLocked(g)
		g.from, g.missed = seq, true
	}
	g.to, g.head = seq, max(g.head, seq)
	if entry.change && !e.channel {
		g.changed = seq
	}
	if passes {
		f.passLocked(g, seq)
	} else {
		f.bufferLocked(g, entry)
	}
	if e.fanned {
		g.fanned = seq
	}
	f.queueGroupLocked(g)
	f.signal()
	return passes && g.knowsChannel(entry.sender, f.store)
}

// knowsChannel: the log of a user has the entry that made the group a channel.
func (g *fanGroup) knowsChannel(user []byte, store Store) bool {
	return g.boundary != 0 && len(g.lanes) > 0 && g.lanes[store.Group(userOf(user).Partition())].through >= g.boundary
}

// passLocked: no log needs an entry.
func (f *fanouts) passLocked(g *fanGroup, seq godwit.Seq) {
	for i := range g.lanes {
		if l := &g.lanes[i]; l.through == seq-1 && l.round == nil && !l.busy {
			l.through = seq
		}
	}
}

// bufferLocked keeps an entry for the rounds and the sessions.
func (f *fanouts) bufferLocked(g *fanGroup, e *fanEntry) {
	size := len(e.record.Body) + fanEntryBytes
	if len(g.entries) >= fanBufferEntriesMax || g.bytes+size > fanBufferBytesMax || f.buffered+size > f.bufferBytesMax {
		f.forgetLocked(g)
		g.from = e.seq
	}
	g.entries = append(g.entries, *e)
	g.bytes += size
	f.buffered += size
}

func (f *fanouts) forgetLocked(g *fanGroup) {
	f.buffered -= g.bytes
	g.entries, g.bytes, g.from = nil, 0, g.to+1
}

// releaseLocked lets go of entries that are done.
func (f *fanouts) releaseLocked(g *fanGroup, through godwit.Seq) {
	n := 0
	for n < len(g.entries) && g.entries[n].seq <= through {
		size := len(g.entries[n].record.Body) + fanEntryBytes
		g.bytes -= size
		f.buffered -= size
		n++
	}
	// Whoever looks at the old slice may go on: it is not written to.
	if g.entries = g.entries[n:]; len(g.entries) == 0 {
		g.entries = nil
	}
	g.from = max(g.from, through+1)
}

func (f *fanouts) signal() {
	for range fanWorkers {
		select {
		case f.wake <- struct{}{}:
		default:
			return
		}
	}
}

// tick ends the rests that are over.
func (f *fanouts) tick() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now++
	resting := f.resting
	f.resting = nil
	for _, l := range resting {
		l.queued = false
		f.queueLaneLocked(l)
	}
	f.signal()
}

func (f *fanouts) stats(st *Stats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st.FanoutGroups, st.FanoutBytes = len(f.groups), f.listBytes+f.buffered
}

func (f *fanouts) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.stop)
	}
}

// fanWorker is one goroutine's scratch.
type fanWorker struct {
	*fanouts
	command []byte
	members []byte
	records []godwit.Record
}

func (f *fanouts) run() {
	w := &fanWorker{fanouts: f}
	for {
		select {
		case <-f.stop:
			return
		case <-f.wake:
		}
		for w.next() {
		}
	}
}

// next does one thing: a command of the lane whose turn it is, else a group to
// load, else what is done is written down.
func (w *fanWorker) next() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if l := w.takeLaneLocked(); l != nil {
		w.turnLocked(l)
		return true
	}
	if g := w.takeLoadLocked(); g != nil {
		w.loadLocked(g)
		return true
	}
	for g := range w.fanned {
		if w.fannedLocked(g) {
			return true
		}
	}
	return false
}

// takeLaneLocked finds a lane that is ready and whose destination has room.
func (f *fanouts) takeLaneLocked() *fanLane {
	for range f.to {
		f.turn = (f.turn + 1) % len(f.to)
		d := &f.to[f.turn]
		if len(d.ready) == 0 || d.flying >= fanFlyingMax {
			continue
		}
		l := d.ready[0]
		d.ready[0] = nil
		if d.ready = d.ready[1:]; len(d.ready) == 0 {
			d.ready = nil
		}
		l.queued = false
		f.ready--
		return l
	}
	return nil
}

func (f *fanouts) takeLoadLocked() *fanGroup {
	if f.ready >= fanReadyMax {
		return nil
	}
	for i, g := range f.loads {
		if g.restUntil > f.now {
			continue
		}
		f.loads = append(f.loads[:i], f.loads[i+1:]...)
		g.queued = false
		return g
	}
	return nil
}

// queueGroupLocked gives all lanes of a group with something to do their turn.
func (f *fanouts) queueGroupLocked(g *fanGroup) {
	switch {
	case g.loading || g.queued:
	case g.isStale():
		g.queued = true
		f.loads = append(f.loads, g)
	default:
		for i := range g.lanes {
			f.queueLaneLocked(&g.lanes[i])
		}
		f.dueLocked(g)
	}
}

// isStale: its rows are to be read before the next round.
func (g *fanGroup) isStale() bool {
	return g.lanes == nil || g.missed || g.changed > g.known || g.members == nil && g.needsMembers()
}

// needsMembers: entries before the group became a channel are for all.
func (g *fanGroup) needsMembers() bool {
	limit := g.head
	if g.boundary != 0 {
		limit = min(limit, g.boundary)
	}
	return g.done() < limit
}

// done is through which entry all members' logs have the group's.
func (g *fanGroup) done() godwit.Seq {
	done := g.head
	for i := range g.lanes {
		done = min(done, g.lanes[i].through)
	}
	return done
}

// queueLaneLocked gives a lane with something to do its turn.
func (f *fanouts) queueLaneLocked(l *fanLane) {
	g := l.group
	if l.queued || l.busy {
		return
	}
	if l.round == nil && l.through < g.head && g.boundary == 0 && !g.isStale() && len(g.members.of[l.dst]) == 0 {
		l.through = g.head // nobody is there
	}
	if l.round == nil && l.through >= g.head || l.round != nil && !l.round.hasMore() {
		return
	}
	l.queued = true
	if l.restUntil > f.now {
		f.resting = append(f.resting, l)
		return
	}
	f.to[l.dst].ready = append(f.to[l.dst].ready, l)
	f.ready++
}
