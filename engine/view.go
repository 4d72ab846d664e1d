package engine

import (
	"fmt"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine/segment"
)

// View reads one group. Rows and heads are of one moment until the first entry
// is read; entries never change, and a log is seen up to the head it had when
// the view first looked at it. So read rows first.
//
// Until it has to read a file, a View holds the group's read lock, which stops
// its applier: Close it soon, and open no second View of the group meanwhile.
// Flushes and merges never block it. Entries stay valid after Close, rows do
// not. One goroutine at a time.
type View struct {
	store *Store
	state *state
	// locked: the read lock is held. Then pinned tells what else is.
	locked, pinned bool

	active, frozen layer
	live           *version
	erased         *erasures

	walk   walk
	cursor segment.Cursor
	buf    []Entry // scratch of pages
	err    error
}

// Page is the shared noun: see godwit.Page. Limit counts as at least 1.
type Page = godwit.Page

// View opens a view of a group.
func (s *Store) View(group int) *View {
	v := &View{store: s, state: &s.groups[group].state}
	v.lock()
	return v
}

// Err returns the first failure to read. What the view returned since is
// incomplete.
func (v *View) Err() error { return v.err }

func (v *View) fail(err error) {
	if v.err == nil && err != nil {
		v.err = fmt.Errorf("engine: read: %w", err)
	}
}

// Close ends the view. A second Close does nothing.
func (v *View) Close() {
	v.unlock()
	if v.pinned {
		v.live.release()
		v.pinned = false
	}
	v.state, v.active, v.frozen, v.live, v.erased = nil, layer{}, layer{}, nil, nil
}

// lock takes the read lock and pins what is immutable.
func (v *View) lock() {
	v.state.mu.RLock()
	v.locked = true
	if v.pinned {
		v.live.release()
		v.walk = walk{} // it may stand in a segment that goes now
	}
	v.active, v.frozen, v.live, v.erased = v.state.active, v.state.frozen, v.state.live, v.state.erased
	v.live.acquire()
	v.pinned = true
}

// unlock lets the applier go on. What is pinned stays readable.
func (v *View) unlock() {
	if v.locked {
		v.locked = false
		v.state.mu.RUnlock()
	}
}

// Get returns a row, valid until Close or the first entry that is read.
func (v *View) Get(key []byte) ([]byte, bool) {
	if !v.locked {
		v.lock()
	}
	value, ok, err := v.state.rows.Lookup(key)
	v.fail(err)
	return value, ok
}

// Scan calls fn for all rows whose key starts with prefix, in key order, until
// it returns false. key and value are valid during the call.
func (v *View) Scan(prefix []byte, fn func(key, value []byte) bool) {
	if !v.locked {
		v.lock()
	}
	v.fail(v.state.rows.Scan(prefix, fn))
}

// Head returns the newest sequence of log, 0 if it has no entry.
func (v *View) Head(log LogID) godwit.Seq {
	v.touch(log)
	return v.walk.head
}

// Heads appends to dst the newest sequence of each log, 0 for one without
// entries, all of one moment.
func (v *View) Heads(logs []LogID, dst []godwit.Seq) []godwit.Seq {
	if !v.locked {
		v.lock()
	}
	for _, log := range logs {
		dst = append(dst, v.state.head(log))
	}
	return dst
}

// Since appends to dst the entries of log after a sequence, ascending: up to
// limit entries and bytesMax bytes, but at least one if there is one.
func (v *View) Since(log LogID, after godwit.Seq, limit, bytesMax int, dst []Entry) []Entry {
	v.touch(log)
	p := page{dst: dst, limit: limit, bytesMax: bytesMax}
	if after < v.walk.head {
		v.ascend(after+1, &p)
	}
	return p.dst
}

// Conversation appends to dst a page of one conversation of log, always
// ascending. more tells whether the conversation goes on beyond the page, in
// the direction of p. Entries after p.Newest are not seen.
func (v *View) Conversation(log LogID, conv uint32, p Page, dst []Entry) (entries []Entry, more bool) {
	v.touch(log)
	p.Newest = min(p.Newest, v.walk.head)
	if !p.Forward {
		return v.backward(conv, p, dst)
	}
	if p.After >= p.Newest {
		return dst, false
	}
	out := page{dst: dst, limit: p.Limit, bytesMax: p.BytesMax, conv: conv, through: p.Newest}
	v.ascend(p.After+1, &out)
	return out.dst, out.more
}

// Entry returns one entry of log.
func (v *View) Entry(log LogID, seq godwit.Seq) (Entry, bool) {
	v.touch(log)
	if seq == 0 || seq > v.walk.head {
		return Entry{}, false
	}
	e, ok := v.find(seq)
	if !ok || v.erased.has(log, &e) {
		return Entry{}, false
	}
	return e, true
}
