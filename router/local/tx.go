package local

import (
	"bytes"

	"github.com/godwit-im/godwit/router"
	"github.com/tidwall/btree"
)

// tx is one transaction: the store as of its begin, and its own writes over it. It
// belongs to one goroutine; base shares its nodes with the store, which copies what
// it changes.
type tx struct {
	start  router.Timestamp
	base   *btree.Map[string, []byte]
	writes *btree.Map[string, write]
	ended  bool
}

// write is what the commit does to a key; neither set nor deleted: only locked.
type write struct {
	value        []byte
	set, deleted bool
}

func (t *tx) Timestamp() router.Timestamp { return t.start }

func (t *tx) get(key string) ([]byte, bool) {
	if w, ok := t.writes.Get(key); ok && (w.set || w.deleted) {
		return w.value, w.set
	}
	return t.base.Get(key)
}

func (t *tx) Get(key []byte) ([]byte, error) {
	if t.ended {
		return nil, errEnded
	}
	value, _ := t.get(string(key))
	return bytes.Clone(value), nil
}

func (t *tx) BatchGet(keys [][]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		value, err := t.Get(key)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

// Scan merges the base with the transaction's own writes.
func (t *tx) Scan(start, end []byte, limit int) ([]router.Pair, error) {
	if t.ended {
		return nil, errEnded
	}
	view := t.base.Copy()
	t.writes.Scan(func(key string, w write) bool {
		switch {
		case w.set:
			view.Set(key, w.value)
		case w.deleted:
			view.Delete(key)
		}
		return true
	})
	var pairs []router.Pair
	view.Ascend(string(start), func(key string, value []byte) bool {
		if len(pairs) >= limit || key >= string(end) {
			return false
		}
		pairs = append(pairs, router.Pair{Key: []byte(key), Value: bytes.Clone(value)})
		return true
	})
	return pairs, nil
}

func (t *tx) Set(key, value []byte) error {
	return t.write(key, write{value: append([]byte{}, value...), set: true})
}

func (t *tx) Delete(key []byte) error { return t.write(key, write{deleted: true}) }

func (t *tx) Lock(key []byte) error {
	if w, ok := t.writes.Get(string(key)); ok {
		return t.write(key, w)
	}
	return t.write(key, write{})
}

func (t *tx) write(key []byte, w write) error {
	if t.ended {
		return errEnded
	}
	t.writes.Set(string(key), w)
	return nil
}
