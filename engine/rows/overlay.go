package rows

import (
	"fmt"
	"sync/atomic"
)

// Overlay is the rows of one group: those of the DB, below what changed since.
// A change lands in the active layer. Freeze makes that the frozen layer, which
// a checkpoint writes to the DB while a new active layer takes the changes.
//
// The owner has a read-write lock. Put, Delete, Freeze, DropFrozen and Get need
// it for writing, Lookup and Scan for reading. Fetch and Clear are called by the
// goroutine that calls Get, with or without the lock; WriteFrozen by any, without.
type Overlay struct {
	db    *DB
	group uint32

	active atomic.Pointer[layer]
	frozen atomic.Pointer[layer] // nil: none; immutable
	// clean is the layer that was frozen before: what the DB has of its keys, kept
	// because who was active lately is active again.
	clean atomic.Pointer[layer]
	// empty: the DB has no row of the group, so that nobody need look there.
	empty atomic.Bool
	// drops counts DropFrozen: what was fetched before one may have been read
	// before the commit and is not used after it.
	drops   atomic.Uint64
	fetched fetched
}

// NewOverlay makes the overlay of a group.
func NewOverlay(db *DB, group uint32) *Overlay {
	o := &Overlay{db: db, group: group}
	o.active.Store(new(layer))
	// An error only costs the short cut; the first read meets it again.
	has, err := db.HasRows(group)
	o.empty.Store(err == nil && !has)
	return o
}

// Get returns a row. The value is valid until the next Put or Delete of the key
// or the next Clear, and must not be changed.
func (o *Overlay) Get(key []byte) (value []byte, ok bool, err error) {
	if r := o.dirty(key); r != nil {
		return r.value(), !r.gone(), nil
	}
	if o.empty.Load() {
		return nil, false, nil
	}
	if r := o.cleanRow(key); r != nil {
		return r.value(), !r.gone(), nil
	}
	if f := o.fetchedRow(key); f != nil {
		return f.value, f.ok, nil
	}
	return o.db.Get(o.group, key, nil)
}

// Lookup is Get for readers: it does not see what was fetched. The value is
// valid until the next Put or Delete of the key and must not be changed.
func (o *Overlay) Lookup(key []byte) (value []byte, ok bool, err error) {
	if r := o.dirty(key); r != nil {
		return r.value(), !r.gone(), nil
	}
	if o.empty.Load() {
		return nil, false, nil
	}
	if r := o.cleanRow(key); r != nil {
		return r.value(), !r.gone(), nil
	}
	return o.db.Get(o.group, key, nil)
}

// dirty returns the newest row that differs from the DB, nil if there is none.
func (o *Overlay) dirty(key []byte) *row {
	if r, ok := o.active.Load().get(key); ok {
		return r
	}
	if frozen := o.frozen.Load(); frozen != nil {
		if r, ok := frozen.get(key); ok {
			return r
		}
	}
	return nil
}

// cleanRow returns what is known of the DB's row without reading, nil if nothing
// is. Only for a key that is not dirty.
func (o *Overlay) cleanRow(key []byte) *row {
	if clean := o.clean.Load(); clean != nil {
		if r, ok := clean.get(key); ok {
			return r
		}
	}
	return nil
}

// Put sets a row. Both slices are copied.
func (o *Overlay) Put(key, value []byte) {
	active := o.active.Load()
	if r, ok := active.get(key); ok {
		active.set(r, value)
		return
	}
	var state byte
	if o.absentBelow(key) {
		state = rowFresh
	}
	active.insert(key, value, state)
}

// Delete removes a row if it exists.
func (o *Overlay) Delete(key []byte) {
	active := o.active.Load()
	r, ok := active.get(key)
	switch {
	case !ok && o.absentBelow(key):
	case !ok:
		active.insert(key, nil, rowGone)
	case r.data[0]&rowFresh != 0:
		active.remove(key)
	default:
		r.data = append(r.data[:0], rowGone)
	}
}

// absentBelow tells whether it is known without reading that neither the frozen
// layer nor the DB has the key.
func (o *Overlay) absentBelow(key []byte) bool {
	if frozen := o.frozen.Load(); frozen != nil {
		if _, ok := frozen.get(key); ok {
			return false
		}
	}
	if o.empty.Load() {
		return true
	}
	if r := o.cleanRow(key); r != nil {
		return r.gone()
	}
	f := o.fetchedRow(key)
	return f != nil && !f.ok
}

// Freeze makes the active layer the frozen one. There must be none yet.
func (o *Overlay) Freeze() {
	if o.frozen.Load() != nil {
		panic(fmt.Sprintf("BUG: rows of group %d are frozen already", o.group))
	}
	o.frozen.Store(o.active.Swap(new(layer)))
}

// WriteFrozen adds the changes of the frozen layer to b.
func (o *Overlay) WriteFrozen(b *Batch) error {
	frozen := o.mustFrozen()
	b.reserve(int(frozen.bytes))
	frozen.tree.Scan(func(key string, r *row) bool {
		if r.gone() {
			b.Delete(o.group, keyBytes(key))
		} else {
			b.Put(o.group, keyBytes(key), r.value())
		}
		return b.err == nil
	})
	if b.err != nil {
		return fmt.Errorf("write rows of group %d: %w", o.group, b.err)
	}
	return nil
}

// DropFrozen says that the DB has the changes of the frozen layer now. Its rows
// stay in memory until the next one takes their place.
func (o *Overlay) DropFrozen() {
	if frozen := o.mustFrozen(); frozen.tree.Len() > 0 {
		o.empty.Store(false)
		o.clean.Store(frozen)
	}
	o.drops.Add(1)
	o.frozen.Store(nil)
}

func (o *Overlay) mustFrozen() *layer {
	frozen := o.frozen.Load()
	if frozen == nil {
		panic(fmt.Sprintf("BUG: no frozen rows of group %d", o.group))
	}
	return frozen
}

// Bytes returns about the memory of the rows that changed since the last
// Freeze. Needs the lock like Lookup, as do Len and FrozenBytes.
func (o *Overlay) Bytes() int64 { return o.active.Load().bytes }

// Len returns the number of rows that changed since the last Freeze.
func (o *Overlay) Len() int { return o.active.Load().tree.Len() }

// CleanBytes is Bytes of the rows that are kept although the DB has them.
func (o *Overlay) CleanBytes() int64 {
	if clean := o.clean.Load(); clean != nil {
		return clean.bytes
	}
	return 0
}

// DropClean frees them. Any goroutine.
func (o *Overlay) DropClean() { o.clean.Store(nil) }

// FrozenBytes is Bytes of the frozen layer, 0 if there is none.
func (o *Overlay) FrozenBytes() int64 {
	if frozen := o.frozen.Load(); frozen != nil {
		return frozen.bytes
	}
	return 0
}

// Empty tells that the DB has no row of the group, so that Fetch has nothing to do.
func (o *Overlay) Empty() bool { return o.empty.Load() }
