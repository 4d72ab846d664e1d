package tikv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tikv/client-go/v2/kv"
	"github.com/tikv/client-go/v2/tikv"

	"github.com/godwit-im/godwit/router"
)

// tx is one transaction. writes repeats what client-go's buffer holds, for Scan:
// client-go's own iterator takes no context.
type tx struct {
	call   *call
	txn    *tikv.KVTxn
	start  router.Timestamp
	writes map[string][]byte // nil: deleted
	locks  int
	lost   bool // a guarded function still works on txn: nobody else may
}

// Update runs fn in one transaction and commits what it wrote.
func (s *Store) Update(ctx context.Context, fn func(router.Tx) error) error {
	return s.do(ctx, opUpdate, func(c *call) error {
		start, err := c.now()
		if err != nil {
			return err
		}
		txn, err := c.client.Begin(tikv.WithStartTS(uint64(start)))
		if err != nil {
			return c.failed("begin", err)
		}
		txn.SetEnable1PC(true)
		txn.SetCausalConsistency(true)
		t := &tx{call: c, txn: txn, start: start, writes: make(map[string][]byte)}
		if err := fn(t); err != nil {
			t.drop()
			return err
		}
		if t.lost || len(t.writes)+t.locks == 0 {
			t.drop()
			return t.usable()
		}
		return t.commit()
	})
}

// drop forgets the transaction; nothing was sent yet.
func (t *tx) drop() {
	if !t.lost {
		_ = t.txn.Rollback()
	}
}

func (t *tx) usable() error {
	if t.lost {
		return fmt.Errorf("tikv: the transaction ran out of time: %w", router.ErrUnavailable)
	}
	return nil
}

func (t *tx) commit() error {
	_, err := guard(t.call, func(ctx context.Context) (struct{}, error) { return struct{}{}, t.txn.Commit(ctx) })
	switch {
	case err == nil:
		return t.call.failed("commit", nil)
	case errors.Is(err, errClosed):
		return errClosed // the commit was not begun
	case conflicting(err):
		t.call.verdict = max(t.call.verdict, healthy)
		return fmt.Errorf("tikv: commit: %w: %w", router.ErrConflict, err)
	}
	_ = t.call.failed("commit", err)
	return fmt.Errorf("tikv: commit: %w: %w", router.ErrUnknown, err)
}

// read runs a function of client-go on the transaction.
func read[T any](t *tx, doing string, fn func(context.Context) (T, error)) (T, error) {
	var none T
	if err := t.usable(); err != nil {
		return none, err
	}
	value, err := guard(t.call, fn)
	t.lost = errors.Is(err, errAbandoned)
	return value, t.call.failed(doing, err)
}

// Timestamp is when the transaction began.
func (t *tx) Timestamp() router.Timestamp { return t.start }

// Get returns the value as the transaction sees it; nil: there is none.
func (t *tx) Get(key []byte) ([]byte, error) {
	key = slices.Clone(key)
	return read(t, "get", func(ctx context.Context) ([]byte, error) {
		entry, err := t.txn.Get(ctx, key)
		return slices.Clone(entry.Value), absent(err)
	})
}

// BatchGet returns the values as the transaction sees them, in the order of the keys.
func (t *tx) BatchGet(keys [][]byte) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, t.usable()
	}
	keys = cloneAll(keys)
	return read(t, "batch get", func(ctx context.Context) ([][]byte, error) {
		entries, err := t.txn.BatchGet(ctx, keys)
		if err != nil {
			return nil, err
		}
		out := make([][]byte, len(keys))
		for i, key := range keys {
			out[i] = slices.Clone(entries[string(key)].Value)
		}
		return out, nil
	})
}

// Scan returns at most limit pairs as the transaction sees them.
func (t *tx) Scan(start, end []byte, limit int) ([]router.Pair, error) {
	r := scanRange{start: slices.Clone(start), end: slices.Clone(end), limit: limit}
	own := make(map[string][]byte)
	for key, value := range t.writes {
		if r.covers([]byte(key)) {
			own[key] = value
		}
	}
	// Each write of ours may hide one pair of the store's.
	below := r
	below.limit += len(own)
	pairs, err := read(t, "scan", func(ctx context.Context) ([]router.Pair, error) {
		return scan(ctx, t.call.client, uint64(t.start), below)
	})
	if err != nil {
		return nil, err
	}
	return merge(pairs, own, limit), nil
}

// merge lays a transaction's own writes over what the store has.
func merge(pairs []router.Pair, own map[string][]byte, limit int) []router.Pair {
	pairs = slices.DeleteFunc(pairs, func(p router.Pair) bool {
		_, hidden := own[string(p.Key)]
		return hidden
	})
	for key, value := range own {
		if value != nil {
			pairs = append(pairs, router.Pair{Key: []byte(key), Value: slices.Clone(value)})
		}
	}
	slices.SortFunc(pairs, func(a, b router.Pair) int { return bytes.Compare(a.Key, b.Key) })
	return pairs[:min(len(pairs), max(limit, 0))]
}

// Set writes a value; an empty one can't be told from none, and is refused.
func (t *tx) Set(key, value []byte) error {
	if err := t.usable(); err != nil {
		return err
	}
	key, value = slices.Clone(key), slices.Clone(value)
	if err := t.txn.Set(key, value); err != nil {
		return fmt.Errorf("tikv: set: %w", err)
	}
	t.writes[string(key)] = value
	return nil
}

// Delete removes a value.
func (t *tx) Delete(key []byte) error {
	if err := t.usable(); err != nil {
		return err
	}
	if err := t.txn.Delete(slices.Clone(key)); err != nil {
		return fmt.Errorf("tikv: delete: %w", err)
	}
	t.writes[string(key)] = nil
	return nil
}

// Lock makes the commit fail if another transaction writes or locks the key
// meanwhile. It asks nobody before the commit.
func (t *tx) Lock(key []byte) error {
	if err := t.usable(); err != nil {
		return err
	}
	lock := kv.NewLockCtx(uint64(t.start), kv.LockNoWait, time.Now())
	if err := t.txn.LockKeys(t.call.ctx, lock, slices.Clone(key)); err != nil {
		return fmt.Errorf("tikv: lock: %w: %w", router.ErrUnavailable, err)
	}
	t.locks++
	return nil
}
