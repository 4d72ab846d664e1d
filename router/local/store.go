package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/tidwall/btree"
)

// Op names where a store asks Config.Fault.
type Op string

const (
	OpGet   Op = "get"
	OpBatch Op = "batch"
	OpScan  Op = "scan"
	OpNow   Op = "now"
	OpBegin Op = "begin" // of a transaction
	// OpCommit is before a commit: ErrUnknown here is one that took no effect.
	OpCommit Op = "commit"
	// OpCommitted is after a commit: ErrUnknown here is one that did.
	OpCommitted Op = "committed"
)

// Config of a Store. The zero value of a field means its default.
type Config struct {
	Clock func() int64 // ms since the Unix epoch; time.Now
	// Fault is asked at every operation, outside all locks, and may wait: for
	// tests. What it returns is what the operation answers. nil: nothing fails.
	Fault func(ctx context.Context, op Op) error
}

// Store is an embedded router.Store. All methods may be called concurrently.
type Store struct {
	clock func() int64
	fault func(ctx context.Context, op Op) error

	mu     sync.Mutex
	closed bool
	last   router.Timestamp            // the newest one given
	data   *btree.Map[string, []byte]  // committed; its values never change
	active map[*tx]struct{}            // transactions that run
	fresh  map[string]router.Timestamp // when a key was last written or locked, while a transaction could care
	swept  int                         // length of fresh after it was last cleaned
}

// Open returns an empty store.
func Open(cfg Config) *Store {
	if cfg.Clock == nil {
		cfg.Clock = func() int64 { return time.Now().UnixMilli() }
	}
	if cfg.Fault == nil {
		cfg.Fault = func(context.Context, Op) error { return nil }
	}
	return &Store{
		clock: cfg.Clock, fault: cfg.Fault, data: btree.NewMap[string, []byte](0),
		active: map[*tx]struct{}{}, fresh: map[string]router.Timestamp{},
	}
}

// Close makes every later call answer ErrUnavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// enter is where every operation begins.
func (s *Store) enter(ctx context.Context, op Op) error {
	if err := s.fault(ctx, op); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", router.ErrUnavailable, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("%w: closed", router.ErrUnavailable)
	}
	return nil
}

// nextLocked returns a timestamp above all others.
func (s *Store) nextLocked() router.Timestamp {
	s.last = max(s.last+1, router.Timestamp(max(0, s.clock()))<<18)
	return s.last
}

// Now implements router.Store.
func (s *Store) Now(ctx context.Context) (router.Timestamp, error) {
	if err := s.enter(ctx, OpNow); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextLocked(), nil
}

// Get implements router.Store.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := s.enter(ctx, OpGet); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value, _ := s.data.Get(string(key))
	return bytes.Clone(value), nil
}

// BatchGet implements router.Store.
func (s *Store) BatchGet(ctx context.Context, keys [][]byte) ([][]byte, error) {
	if err := s.enter(ctx, OpBatch); err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	for i, key := range keys {
		s.mu.Lock() // each for itself: they need not be of one moment
		value, _ := s.data.Get(string(key))
		s.mu.Unlock()
		values[i] = bytes.Clone(value)
	}
	return values, nil
}

// Scan implements router.Store.
func (s *Store) Scan(ctx context.Context, start, end []byte, limit int) ([]router.Pair, error) {
	if err := s.enter(ctx, OpScan); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var pairs []router.Pair
	s.data.Ascend(string(start), func(key string, value []byte) bool {
		if len(pairs) >= limit || key >= string(end) {
			return false
		}
		pairs = append(pairs, router.Pair{Key: []byte(key), Value: bytes.Clone(value)})
		return true
	})
	return pairs, nil
}

// Update implements router.Store.
func (s *Store) Update(ctx context.Context, fn func(tx router.Tx) error) error {
	if err := s.enter(ctx, OpBegin); err != nil {
		return err
	}
	t := s.begin()
	defer s.end(t)
	if err := fn(t); err != nil {
		return err
	}
	if t.writes.Len() == 0 {
		return nil
	}
	if err := s.enter(ctx, OpCommit); err != nil {
		return err
	}
	if err := s.commit(t); err != nil {
		return err
	}
	return s.fault(ctx, OpCommitted)
}

func (s *Store) begin() *tx {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{start: s.nextLocked(), base: s.data.Copy(), writes: btree.NewMap[string, write](0)}
	s.active[t] = struct{}{}
	return t
}

func (s *Store) end(t *tx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.ended = true
	delete(s.active, t)
	s.sweepLocked()
}

// commit makes the writes visible, unless another transaction committed a write or
// a lock of one of the keys since t began.
func (s *Store) commit(t *tx) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	conflict := false
	t.writes.Scan(func(key string, _ write) bool {
		conflict = s.fresh[key] > t.start
		return !conflict
	})
	if conflict {
		return router.ErrConflict
	}
	now := s.nextLocked()
	t.writes.Scan(func(key string, w write) bool {
		s.fresh[key] = now
		switch {
		case w.set:
			s.data.Set(key, w.value)
		case w.deleted:
			s.data.Delete(key)
		}
		return true
	})
	return nil
}

// sweepLocked forgets the writes that no running transaction can conflict with.
func (s *Store) sweepLocked() {
	if len(s.active) == 0 && len(s.fresh) > 0 {
		clear(s.fresh)
		s.swept = 0
	}
	if len(s.fresh) < 2*s.swept+1024 {
		return
	}
	oldest := s.last
	for t := range s.active {
		oldest = min(oldest, t.start)
	}
	for key, at := range s.fresh {
		if at <= oldest {
			delete(s.fresh, key)
		}
	}
	s.swept = len(s.fresh)
}

var errEnded = errors.New("router/local: the transaction has ended")
