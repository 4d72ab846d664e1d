package engine

import "github.com/godwit-im/godwit"

// View is a consistent state of one group for reading. It holds a read lock
// that stops the group's applier, so Close it soon, and open no second View of
// a group meanwhile: a waiting writer would block it. Entries got from it stay
// valid after Close, rows do not. Its methods may be called concurrently.
type View struct{ state *state }

// Page is the shared noun: see godwit.Page. Limit counts as at least 1.
type Page = godwit.Page

// View opens a view of a group.
func (s *Store) View(group int) *View {
	st := &s.groups[group].state
	st.mu.RLock()
	return &View{state: st}
}

// Err returns the first failure to read.
func (v *View) Err() error { return nil }

// Close ends the view. A second Close does nothing.
func (v *View) Close() {
	if v.state != nil {
		v.state.mu.RUnlock()
		v.state = nil
	}
}

// Get returns a row, valid until Close.
func (v *View) Get(key []byte) ([]byte, bool) { return v.state.get(key) }

// Scan calls fn for all rows whose key starts with prefix, in key order, until
// it returns false. key and value are valid until Close.
func (v *View) Scan(prefix []byte, fn func(key, value []byte) bool) { v.state.scan(prefix, fn) }

// Head returns the newest sequence of log, 0 if it has no entry.
func (v *View) Head(log LogID) godwit.Seq { return v.state.head(log) }

// Since appends to dst the entries of log after a sequence, ascending: up to
// limit entries and bytesMax bytes, but at least one if there is one.
func (v *View) Since(log LogID, after godwit.Seq, limit, bytesMax int, dst []Entry) []Entry {
	return v.state.since(log, after, limit, bytesMax, dst)
}

// Conversation appends to dst a page of one conversation of log, always
// ascending. more tells whether the conversation goes on beyond the page, in
// the direction of p.
func (v *View) Conversation(log LogID, conv uint32, p Page, dst []Entry) (entries []Entry, more bool) {
	return v.state.conversation(log, conv, p, dst)
}

// Entry returns one entry of log.
func (v *View) Entry(log LogID, seq godwit.Seq) (Entry, bool) { return v.state.entry(log, seq) }
