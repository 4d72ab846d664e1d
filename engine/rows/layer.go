package rows

import (
	"unsafe"

	"github.com/tidwall/btree"
)

// layer is an ordered map of rows that differ from the DB. A look-up in the hash
// map costs a tenth of one in the tree, and a message takes some fifteen; the
// tree knows the order, for scans and for the DB.
type layer struct {
	index map[string]*row
	tree  btree.Map[string, *row]
	bytes int64
}

// row is a state byte and the value. It is overwritten in place while it fits,
// so that a Put of a known key allocates nothing.
type row struct{ data []byte }

// States of a row; bits.
const (
	// rowGone: a tombstone.
	rowGone = 1 << iota
	// rowFresh: no older layer and no DB has the key, so that a Delete leaves
	// nothing behind. Never with rowGone.
	rowFresh
)

const (
	// rowSlack rounds a row's room up so that a varint may grow in place.
	rowSlack = 8
	// rowBytes is what a row holds besides its key and data: struct, slots in the
	// tree and the map, rounding.
	rowBytes = 112
)

func (r *row) gone() bool    { return r.data[0]&rowGone != 0 }
func (r *row) value() []byte { return r.data[1:len(r.data):len(r.data)] }

func (l *layer) get(key []byte) (*row, bool) {
	r, ok := l.index[string(key)] // no allocation: the compiler sees a look-up
	return r, ok
}

// insert adds a key the layer does not hold. Both slices are copied.
func (l *layer) insert(key, value []byte, state byte) {
	// One allocation for key and data; the key part is never written again.
	buf := make([]byte, len(key)+1+len(value), len(key)+1+len(value)+rowSlack)
	copy(buf, key)
	buf[len(key)] = state
	copy(buf[len(key)+1:], value)
	r := &row{data: buf[len(key):]}
	l.bytes += r.held(len(key))
	if l.index == nil {
		l.index = map[string]*row{}
	}
	name := unsafe.String(unsafe.SliceData(buf), len(key))
	l.index[name] = r
	l.tree.Set(name, r)
}

// set overwrites r, which is keyBytes' row in l.
func (l *layer) set(r *row, value []byte) {
	state := r.data[0] &^ rowGone
	if 1+len(value) > cap(r.data) {
		l.bytes -= int64(cap(r.data))
		r.data = make([]byte, 0, 1+len(value)+len(value)/2+rowSlack)
		l.bytes += int64(cap(r.data))
	}
	r.data = append(append(r.data[:0], state), value...)
}

func (l *layer) remove(key []byte) {
	if r, ok := l.tree.Delete(lookup(key)); ok {
		delete(l.index, lookup(key))
		l.bytes -= r.held(len(key))
	}
}

// held returns the memory of r with a key of keyBytes.
func (r *row) held(keyBytes int) int64 { return int64(keyBytes) + int64(cap(r.data)) + rowBytes }

// lookup views key as a string for one call that does not keep it: the tree's
// Get, Delete and Ascend only compare.
func lookup(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

// keyBytes views a key of a tree as bytes, which must not be changed.
func keyBytes(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }
