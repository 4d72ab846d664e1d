package router

import (
	"context"
	"errors"
)

// What a Store answers beside values.
var (
	// ErrConflict: what a transaction read or wrote was changed by another meanwhile.
	// It had no effect; begin again.
	ErrConflict = errors.New("router: another transaction was faster")
	// ErrUnknown: the commit was sent, and nobody knows whether it took effect. Read
	// again before anything is decided on it.
	ErrUnknown = errors.New("router: it is not known whether the change took effect")
	// ErrUnavailable: the store was not reached in time, or is not asked at present.
	// Nothing was changed.
	ErrUnavailable = errors.New("router: the store is not available")
)

// Timestamp is a time of the store: no two are equal, and one that was asked for
// after another was answered, by whomever, is larger. The upper 46 bits are ms
// since the Unix epoch, the lower 18 a counter.
type Timestamp uint64

// Pair is a key and its value. Both belong to whoever gets them.
type Pair struct{ Key, Value []byte }

// Store is an ordered, transactional map of bytes with snapshot isolation. All
// methods may be called concurrently, copy what they keep of their arguments, and
// return within the context's deadline or the store's own, whichever is sooner.
type Store interface {
	// Get returns the newest committed value; nil: there is none.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// BatchGet returns the newest committed values, in the order of the keys; nil
	// where there is none. They need not be of one moment.
	BatchGet(ctx context.Context, keys [][]byte) ([][]byte, error)
	// Scan returns at most limit pairs from start on, below end, ascending.
	Scan(ctx context.Context, start, end []byte, limit int) ([]Pair, error)
	// Update runs fn in one transaction and commits what it wrote. Two transactions
	// that write or lock one key do not both commit; what is only read is not
	// guarded (write skew). It does not try again: an error of fn is returned as it
	// is, a conflict as ErrConflict, an undetermined commit as ErrUnknown.
	Update(ctx context.Context, fn func(tx Tx) error) error
	// Now returns a timestamp.
	Now(ctx context.Context) (Timestamp, error)
	// Close ends the store's goroutines and connections.
	Close() error
}

// Tx is one transaction: it sees the store as of its begin, and its own writes. It
// belongs to the goroutine of Update and dies with fn.
type Tx interface {
	Get(key []byte) ([]byte, error)
	BatchGet(keys [][]byte) ([][]byte, error)
	Scan(start, end []byte, limit int) ([]Pair, error)
	Set(key, value []byte) error
	Delete(key []byte) error
	// Lock makes the commit fail if another transaction writes or locks the key
	// meanwhile: for what is read to decide, and not written.
	Lock(key []byte) error
	// Timestamp is when the transaction began.
	Timestamp() Timestamp
}
