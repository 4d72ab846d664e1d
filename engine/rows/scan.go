package rows

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/tidwall/btree"
)

// Scan calls fn for all rows whose key starts with prefix, keys ascending,
// until it returns false. What fn gets must not be changed; a key is valid for
// ever, a value until the next Put or Delete of the key.
func (o *Overlay) Scan(prefix []byte, fn func(key, value []byte) bool) error {
	active, frozen := o.active.Load(), o.frozen.Load()
	if o.empty.Load() && frozen == nil {
		active.scan(prefix, fn)
		return nil
	}
	sources := make([]source, 0, 3) // newest first
	sources = append(sources, newLayerCursor(active, prefix))
	if frozen != nil {
		sources = append(sources, newLayerCursor(frozen, prefix))
	}
	if o.empty.Load() {
		return merge(sources, fn)
	}
	c, err := newDBCursor(o.db, o.group, prefix)
	if err == nil {
		err = merge(append(sources, c), fn)
		if closed := c.iter.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		return fmt.Errorf("scan rows of group %d: %w", o.group, err)
	}
	return nil
}

// scan is Scan of a layer below which there is nothing, so that it has no
// tombstones.
func (l *layer) scan(prefix []byte, fn func(key, value []byte) bool) {
	p := lookup(prefix)
	l.tree.Ascend(p, func(key string, r *row) bool {
		return strings.HasPrefix(key, p) && fn(keyBytes(key), r.value())
	})
}

// source is a layer or the DB while it is scanned.
type source interface {
	// key returns the current key, nil at the end.
	key() []byte
	// value returns the current value, and false for a tombstone.
	value() ([]byte, bool)
	// next goes on. After an error the scan ends.
	next() error
}

// merge calls fn for the rows of all sources until it returns false; of equal
// keys the first source's counts.
func merge(sources []source, fn func(key, value []byte) bool) error {
	for {
		var lowest source
		for _, s := range sources {
			if key := s.key(); key != nil && (lowest == nil || bytes.Compare(key, lowest.key()) < 0) {
				lowest = s
			}
		}
		if lowest == nil {
			return nil
		}
		key := lowest.key()
		if value, ok := lowest.value(); ok && !fn(key, value) {
			return nil
		}
		for _, s := range sources {
			if k := s.key(); k == nil || !bytes.Equal(k, key) {
				continue
			}
			if err := s.next(); err != nil {
				return err
			}
		}
	}
}

type layerCursor struct {
	iter   btree.MapIter[string, *row]
	prefix string
	ok     bool
}

func newLayerCursor(l *layer, prefix []byte) *layerCursor {
	c := &layerCursor{iter: l.tree.Iter(), prefix: string(prefix)}
	c.ok = c.iter.Seek(c.prefix)
	return c
}

// keyNone is the empty key: not nil.
var keyNone = []byte{}

func (c *layerCursor) key() []byte {
	if !c.ok || !strings.HasPrefix(c.iter.Key(), c.prefix) {
		return nil
	}
	if c.iter.Key() == "" {
		return keyNone
	}
	return keyBytes(c.iter.Key())
}

func (c *layerCursor) value() ([]byte, bool) {
	r := c.iter.Value()
	return r.value(), !r.gone()
}

func (c *layerCursor) next() error {
	c.ok = c.iter.Next()
	return nil
}

// dbCursor copies what it passes into arena, because Pebble reuses its memory.
type dbCursor struct {
	iter  *pebble.Iterator
	arena []byte
	k, v  []byte
}

const (
	scanArenaMin = 512
	scanArenaMax = 64 << 10
)

func newDBCursor(db *DB, group uint32, prefix []byte) (*dbCursor, error) {
	if err := db.usable(); err != nil {
		return nil, err
	}
	lower := appendRowKey(nil, group, prefix)
	iter, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: prefixEnd(nil, lower)})
	if err != nil {
		return nil, err
	}
	c := &dbCursor{iter: iter}
	if err := c.load(iter.First()); err != nil {
		_ = iter.Close()
		return nil, err
	}
	return c, nil
}

func (c *dbCursor) key() []byte           { return c.k }
func (c *dbCursor) value() ([]byte, bool) { return c.v, true }
func (c *dbCursor) next() error           { return c.load(c.iter.Next()) }

func (c *dbCursor) load(ok bool) error {
	c.k, c.v = nil, nil
	if !ok {
		return c.iter.Error()
	}
	value, err := c.iter.ValueAndErr()
	if err != nil {
		return err
	}
	key := c.iter.Key()[groupKeyBytes:]
	need := len(key) + len(value)
	if c.arena == nil || cap(c.arena)-len(c.arena) < need { // nil would be the end
		c.arena = make([]byte, 0, max(need, min(max(2*cap(c.arena), scanArenaMin), scanArenaMax)))
	}
	start := len(c.arena)
	split := start + len(key)
	c.arena = append(append(c.arena, key...), value...)
	c.k = c.arena[start:split:split]
	c.v = c.arena[split:len(c.arena):len(c.arena)]
	return nil
}
