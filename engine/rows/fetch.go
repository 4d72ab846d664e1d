package rows

import "unsafe"

// fetched is what the applier read from the DB ahead of a batch. Only its
// goroutine touches it.
type fetched struct {
	rows  map[string]fetchedRow // keys and values lie in arena
	arena []byte
	drops uint64 // Overlay.drops when the first row was fetched
}

type fetchedRow struct {
	value []byte
	ok    bool // false: the DB has no such row
}

const (
	// Above these, Clear frees what an unusual batch needed.
	fetchedRowsMax  = 16 << 10
	fetchedArenaMax = 4 << 20
)

// Fetch reads a row from the DB, so that a following Get or Put need not, until
// Clear. It does not wait for the owner's lock.
func (o *Overlay) Fetch(key []byte) error {
	if o.empty.Load() {
		return nil
	}
	f := &o.fetched
	if drops := o.drops.Load(); drops != f.drops {
		o.Clear()
		f.drops = drops
	}
	// In that order: a row that Freeze moves is seen in either layer.
	if o.dirty(key) != nil || o.cleanRow(key) != nil {
		return nil
	}
	if _, ok := f.rows[lookup(key)]; ok {
		return nil
	}
	if f.rows == nil {
		f.rows = make(map[string]fetchedRow)
	}
	start := len(f.arena)
	arena, ok, err := o.db.Get(o.group, key, append(f.arena, key...))
	if err != nil {
		return err
	}
	f.arena = arena
	split := start + len(key)
	name := arena[start:split]
	f.rows[unsafe.String(unsafe.SliceData(name), len(name))] = fetchedRow{arena[split:len(arena):len(arena)], ok}
	return nil
}

// Clear forgets what was fetched. Values that Get returned from it end here.
func (o *Overlay) Clear() {
	f := &o.fetched
	if len(f.rows) > fetchedRowsMax {
		f.rows = nil
	}
	if cap(f.arena) > fetchedArenaMax {
		f.arena = nil
	}
	clear(f.rows)
	f.arena = f.arena[:0]
}

// fetchedRow returns what is known of the DB's row, nil if nothing.
func (o *Overlay) fetchedRow(key []byte) *fetchedRow {
	if len(o.fetched.rows) == 0 || o.fetched.drops != o.drops.Load() {
		return nil
	}
	if r, ok := o.fetched.rows[lookup(key)]; ok {
		return &r
	}
	return nil
}
