package engine

import (
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
)

// rows is an ordered map of small mutable values. All of them are in memory
// and rebuilt from the WAL at start, until checkpoints exist. Guarded by
// state.mu.
type rows struct {
	tree  btree.Map[string, *row]
	bytes int64
}

// row's value is overwritten in place while it fits, so that a Put of a known
// key allocates nothing.
type row struct{ value []byte }

// rowSlack rounds a row's room up so that a varint may grow in place.
const rowSlack = 8

func (r *rows) get(key []byte) ([]byte, bool) {
	v, ok := r.tree.Get(lookup(key))
	if !ok {
		return nil, false
	}
	return v.value, true
}

func (r *rows) put(key, value []byte) {
	if v, ok := r.tree.Get(lookup(key)); ok {
		r.bytes += int64(len(value) - len(v.value))
		if len(value) > cap(v.value) {
			v.value = make([]byte, 0, len(value)+len(value)/2+rowSlack)
		}
		v.value = append(v.value[:0], value...)
		return
	}
	// One allocation for key and value; the key part is never written again.
	buf := make([]byte, len(key)+len(value), len(key)+len(value)+rowSlack)
	copy(buf, key)
	copy(buf[len(key):], value)
	r.bytes += int64(len(key) + len(value))
	r.tree.Set(unsafe.String(unsafe.SliceData(buf), len(key)), &row{value: buf[len(key):]})
}

func (r *rows) delete(key []byte) {
	if v, ok := r.tree.Delete(lookup(key)); ok {
		r.bytes -= int64(len(key) + len(v.value))
	}
}

// scan calls fn for the keys with prefix, ascending, until fn returns false.
func (r *rows) scan(prefix []byte, fn func(key, value []byte) bool) {
	p := lookup(prefix)
	r.tree.Ascend(p, func(key string, v *row) bool {
		if !strings.HasPrefix(key, p) {
			return false
		}
		return fn(unsafe.Slice(unsafe.StringData(key), len(key)), v.value)
	})
}

// lookup views key as a string for one call that does not keep it: the tree's
// Get, Delete and Ascend only compare.
func lookup(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }
