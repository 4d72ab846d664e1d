package chat

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/godwit-im/godwit"
)

// memStore is the engine in memory: groups of rows and logs, and every command
// that made them. step applies what is queued, in one batch per group; nothing
// runs by itself unless pump does.
type memStore struct {
	machine *Machine
	mu      sync.Mutex
	groups  []*memGroup
	clock   int64
	// faults, under mu
	refuse    error               // Propose returns it
	lose      func(n uint64) bool // of the n-th proposal: apply, but tell the waiter "unknown"
	dropped   func(n uint64) bool // of the n-th proposal: never applied, the waiter hears "unknown"
	dropGroup int                 // the only group dropped is for; -1: all
	frozen    map[int]bool        // groups that apply nothing
	readErr   error               // ReadIndex ends with it
	held      []func(error)       // ReadIndex calls kept back while hold is set
	hold      bool
	count     uint64
	work      chan struct{}
}

type memGroup struct {
	id       int
	rows     map[string][]byte
	logs     map[godwit.LogID][]godwit.Record
	queue    []memProposal
	commands []memCommand
	stamp    int64
	view     sync.RWMutex

	// of the service's one goroutine that warms
	warm   map[godwit.LogID][]godwit.Newest
	warmed int

	// what is not to be seen any more
	erased  map[memErased]godwit.Seq
	expired int64

	// of the command being applied
	tx      []byte
	allowed map[string]bool
}

// memErased is a conversation of a log, or with conv 0 all of it.
type memErased struct {
	log  godwit.LogID
	conv uint32
}

type memProposal struct {
	command []byte
	waiter  Waiter
	number  uint64
}

type memCommand struct {
	stamp   int64
	command []byte
}

func newMemStore(groups int) *memStore {
	s := &memStore{machine: NewMachine(groups), clock: 1_700_000_000_000, dropGroup: -1, work: make(chan struct{}, 1)}
	for g := range groups {
		s.groups = append(s.groups, newMemGroup(g))
	}
	return s
}

func newMemGroup(id int) *memGroup {
	return &memGroup{id: id, rows: map[string][]byte{}, logs: map[godwit.LogID][]godwit.Record{}, warm: map[godwit.LogID][]godwit.Newest{}, erased: map[memErased]godwit.Seq{}}
}

func (s *memStore) Group(p godwit.Partition) int { return int(p) * len(s.groups) / godwit.Partitions }
func (s *memStore) Groups() int                  { return len(s.groups) }

func (s *memStore) Propose(group int, command []byte, w Waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return s.refuse
	}
	s.count++
	g := s.groups[group]
	g.queue = append(g.queue, memProposal{slices.Clone(command), w, s.count})
	s.signal()
	return nil
}

func (s *memStore) signal() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// step applies everything queued at this moment and tells how much that was.
func (s *memStore) step() (n int) {
	for _, g := range s.groups {
		s.mu.Lock()
		if s.frozen[g.id] {
			s.mu.Unlock()
			continue
		}
		queue := g.queue
		g.queue = nil
		lose, dropped, stamp := s.lose, s.dropped, s.clock
		if s.dropGroup >= 0 && s.dropGroup != g.id {
			dropped = nil
		}
		s.mu.Unlock()
		if len(queue) == 0 {
			continue
		}
		n += len(queue)
		g.stamp = max(g.stamp, stamp)
		var lost []Waiter
		g.view.Lock()
		for _, p := range queue {
			w := p.waiter
			if dropped != nil && dropped(p.number) {
				lost = append(lost, w)
				continue
			}
			if lose != nil && lose(p.number) {
				lost = append(lost, w)
				w = nil
			}
			g.apply(s.machine, memCommand{g.stamp, p.command}, w)
		}
		g.view.Unlock()
		s.machine.Flush(g.id, true)
		for _, w := range lost {
			w.Fail(fmt.Errorf("lost: %w", godwit.ErrUnknown))
		}
	}
	return n
}

// settle steps until nothing is left to do.
func (s *memStore) settle() {
	for s.step() > 0 {
	}
}

// pump applies in the background until stop is closed.
func (s *memStore) pump(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-s.work:
			s.settle()
		}
	}
}

func (g *memGroup) apply(m *Machine, c memCommand, w Waiter) {
	g.commands = append(g.commands, c)
	g.tx, g.allowed = c.command, map[string]bool{}
	m.Reads(c.command, func(key []byte) { g.allowed[string(key)] = true })
	g.stamp = c.stamp
	m.Apply(g, c.command, w)
	g.tx = nil
}

// replica replays the commands of s on a new machine: a restart.
func (s *memStore) replica() *memStore {
	r := newMemStore(len(s.groups))
	r.clock = s.clock
	for i, g := range s.groups {
		for _, c := range g.commands {
			r.groups[i].apply(r.machine, memCommand{c.stamp, slices.Clone(c.command)}, nil)
			r.machine.Flush(i, false)
		}
	}
	return r
}

// digest is equal for equal rows and logs.
func (g *memGroup) digest() uint64 {
	h := fnv.New64a()
	for _, key := range slices.Sorted(maps.Keys(g.rows)) {
		fmt.Fprintf(h, "%q=%q\n", key, g.rows[key])
	}
	for _, log := range slices.Sorted(maps.Keys(g.logs)) {
		for _, r := range g.logs[log] {
			fmt.Fprintf(h, "%d %d %d %d %q %q\n", log, r.Seq, r.Conv, r.Time, r.Meta, r.Body)
		}
	}
	if len(g.erased) > 0 || g.expired > 0 {
		fmt.Fprintf(h, "%v %d\n", g.erased, g.expired) // fmt sorts a map
	}
	return h.Sum64()
}

func (s *memStore) digests() (d []uint64) {
	for _, g := range s.groups {
		d = append(d, g.digest())
	}
	return d
}

// The group is its own Tx.

func (g *memGroup) Group() int   { return g.id }
func (g *memGroup) Stamp() int64 { return g.stamp }

func (g *memGroup) Get(key []byte) ([]byte, bool) {
	if g.tx != nil && !g.allowed[string(key)] {
		panic(fmt.Sprintf("BUG: apply reads row %q that Reads did not name", key))
	}
	v, ok := g.rows[string(key)]
	return v, ok
}

func (g *memGroup) Put(key, value []byte) {
	if p := int(binary.BigEndian.Uint16(key)); p*1 >= godwit.Partitions {
		panic(fmt.Sprintf("BUG: key %q begins with no partition", key))
	}
	g.rows[string(key)] = slices.Clone(value)
}

func (g *memGroup) Delete(key []byte) { delete(g.rows, string(key)) }

func (g *memGroup) Append(log godwit.LogID, r godwit.Record) godwit.Seq {
	body, command := uintptr(unsafe.Pointer(unsafe.SliceData(r.Body))), uintptr(unsafe.Pointer(unsafe.SliceData(g.tx)))
	if r.Meta[0]>>metaKind == byte(recordMessage) && (body < command || body+uintptr(len(r.Body)) > command+uintptr(len(g.tx))) {
		panic("BUG: the body of a message does not alias its command")
	}
	records := g.logs[log]
	r.Seq = godwit.Seq(len(records) + 1)
	r.Meta = slices.Clone(r.Meta)
	if n := len(records); n > 0 && records[n-1].Time > r.Time {
		panic("BUG: time goes back within a log")
	}
	prev, left := godwit.Seq(0), godwit.Seq(0) // of all, and of what is not erased
	for i := len(records) - 1; i >= 0 && prev == 0 && r.Conv != 0; i-- {
		if records[i].Conv == r.Conv {
			if prev = records[i].Seq; !g.isErased(log, &records[i]) {
				left = prev
			}
		}
	}
	if r.Prev != prev && r.Prev != left {
		panic("BUG: Prev is not the newest record of the conversation")
	}
	g.logs[log] = append(records, r)
	return r.Seq
}

func (g *memGroup) Erase(log godwit.LogID, upTo godwit.Seq) { g.EraseConversation(log, 0, upTo) }

func (g *memGroup) EraseConversation(log godwit.LogID, conv uint32, upTo godwit.Seq) {
	key := memErased{log, conv}
	g.erased[key] = max(g.erased[key], min(upTo, godwit.Seq(len(g.logs[log]))))
}

func (g *memGroup) ExpireBefore(time int64) { g.expired = max(g.expired, time) }

// isErased tells whether readers no longer see a record.
func (g *memGroup) isErased(log godwit.LogID, r *godwit.Record) bool {
	return r.Time < g.expired || r.Seq <= g.erased[memErased{log, 0}] || r.Seq <= g.erased[memErased{log, r.Conv}]
}

// left are the records of a log that readers see.
func (g *memGroup) left(log godwit.LogID) []godwit.Record {
	if len(g.erased) == 0 && g.expired == 0 {
		return g.logs[log]
	}
	return slices.DeleteFunc(slices.Clone(g.logs[log]), func(r godwit.Record) bool { return g.isErased(log, &r) })
}

// memView reads one group.
type memView struct{ g *memGroup }

func (s *memStore) View(group int) View {
	s.groups[group].view.RLock()
	return memView{s.groups[group]}
}

func (s *memStore) ReadIndex(_ int, done func(error)) {
	s.mu.Lock()
	err, hold := s.readErr, s.hold
	if hold {
		s.held = append(s.held, done)
	}
	s.mu.Unlock()
	if !hold {
		done(err)
	}
}

func (v memView) Close()                       { v.g.view.RUnlock() }
func (v memView) IsWarm(log godwit.LogID) bool { return v.g.warm[log] != nil }

func (v memView) Warm(log godwit.LogID, conversations []godwit.Newest) {
	v.g.warm[log] = slices.Clone(conversations)
	v.g.warmed++
}

func (v memView) Err() error                       { return nil }
func (v memView) Get(key []byte) ([]byte, bool)    { r, ok := v.g.rows[string(key)]; return r, ok }
func (v memView) Head(log godwit.LogID) godwit.Seq { return godwit.Seq(len(v.g.logs[log])) }

func (v memView) Scan(prefix []byte, fn func(key, value []byte) bool) {
	for _, key := range slices.Sorted(maps.Keys(v.g.rows)) {
		if strings.HasPrefix(key, string(prefix)) && !fn([]byte(key), v.g.rows[key]) {
			return
		}
	}
}

func (v memView) Entry(log godwit.LogID, seq godwit.Seq) (godwit.Record, bool) {
	if records := v.g.logs[log]; seq > 0 && int(seq) <= len(records) {
		return records[seq-1], !v.g.isErased(log, &records[seq-1])
	}
	return godwit.Record{}, false
}

// bounded appends records up to limit and bytesMax, but at least one.
func bounded(records []godwit.Record, limit, bytesMax int, dst []godwit.Record) (out []godwit.Record, more bool) {
	size := 0
	for i, r := range records {
		if size += len(r.Meta) + len(r.Body); i > 0 && (i >= limit || size > bytesMax) {
			return dst, true
		}
		dst = append(dst, r)
	}
	return dst, false
}

func (v memView) Since(log godwit.LogID, after godwit.Seq, limit, bytesMax int, dst []godwit.Record) []godwit.Record {
	records := v.g.left(log)
	for len(records) > 0 && records[0].Seq <= after {
		records = records[1:]
	}
	dst, _ = bounded(records, limit, bytesMax, dst)
	return dst
}

func (v memView) Conversation(log godwit.LogID, conv uint32, page godwit.Page, dst []godwit.Record) ([]godwit.Record, bool) {
	var all []godwit.Record
	for _, r := range v.g.left(log) {
		if r.Conv == conv && r.Seq <= page.Newest && (page.Before == 0 || r.Seq < page.Before) && (!page.Forward || r.Seq > page.After) {
			all = append(all, r)
		}
	}
	if page.Forward {
		return bounded(all, page.Limit, page.BytesMax, dst)
	}
	slices.Reverse(all)
	start := len(dst)
	dst, more := bounded(all, page.Limit, page.BytesMax, dst)
	slices.Reverse(dst[start:])
	return dst, more
}
