package tikv

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	tikverr "github.com/tikv/client-go/v2/error"
	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/tikv"

	"github.com/godwit-im/godwit/router"
)

// newest reads what is committed last, without a timestamp.
const newest = math.MaxUint64

// Store is a router.Store in TiKV.
type Store struct {
	config   Config
	breaker  *breaker
	slots    chan struct{} // as many as calls may be under way
	counters [operations]counter
	client   atomic.Pointer[tikv.KVStore] // nil until the first connection; never nil again

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tried  chan struct{} // closed after the first attempt to connect

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // every goroutine of ours
}

var _ router.Store = (*Store)(nil)

// Open returns when TiKV answered, or when the first attempt failed or took longer than
// the Timeout: then the Store's breaker is open, and it goes on in the background until
// it succeeds. An error means that the configuration is wrong, or that ctx ended.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("tikv: %w", err)
	}
	quiet(config.Logger)
	s := &Store{
		config:  config,
		breaker: newBreaker(config.Failures, config.Timeout*3/2),
		slots:   make(chan struct{}, config.Concurrency),
		tried:   make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.begin()
	go s.attend()
	timer := time.NewTimer(config.Timeout)
	defer timer.Stop()
	select {
	case <-s.tried:
		return s, nil
	case <-timer.C:
		return s, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("tikv: open: %w", ctx.Err()), s.Close())
	}
}

// begin counts a goroutine in, unless the Store is closed.
func (s *Store) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// Close ends what is under way, as if its deadline had come, and every goroutine but
// those of client-go that wait for a connection: they end within 5 s.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	if client := s.client.Load(); client != nil && !was {
		if err := client.Close(); err != nil {
			return fmt.Errorf("tikv: close: %w", err)
		}
	}
	return nil
}

// Get returns the newest committed value; nil: there is none.
func (s *Store) Get(ctx context.Context, key []byte) (value []byte, err error) {
	key = append([]byte(nil), key...)
	err = s.do(ctx, opGet, func(c *call) error {
		value, err = guard(c, func(ctx context.Context) ([]byte, error) {
			entry, err := c.client.GetSnapshot(newest).Get(ctx, key)
			return entry.Value, absent(err)
		})
		return c.failed("get", err)
	})
	return value, err
}

// absent is for what is not there, which is no error.
func absent(err error) error {
	if tikverr.IsErrNotFound(err) {
		return nil
	}
	return err
}

// BatchGet returns the newest committed values, in the order of the keys.
func (s *Store) BatchGet(ctx context.Context, keys [][]byte) (values [][]byte, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	keys = cloneAll(keys)
	err = s.do(ctx, opBatchGet, func(c *call) error {
		values, err = guard(c, func(ctx context.Context) ([][]byte, error) {
			entries, err := c.client.GetSnapshot(newest).BatchGet(ctx, keys)
			if err != nil {
				return nil, err
			}
			out := make([][]byte, len(keys))
			for i, key := range keys {
				out[i] = entries[string(key)].Value
			}
			return out, nil
		})
		return c.failed("batch get", err)
	})
	return values, err
}

func cloneAll(keys [][]byte) [][]byte {
	out := make([][]byte, len(keys))
	for i, key := range keys {
		out[i] = append([]byte(nil), key...)
	}
	return out
}

// Scan returns at most limit pairs from start on, below end, ascending. A scan over
// several regions is not of one moment.
func (s *Store) Scan(ctx context.Context, start, end []byte, limit int) (pairs []router.Pair, err error) {
	r := scanRange{start: append([]byte(nil), start...), end: append([]byte(nil), end...), limit: limit}
	err = s.do(ctx, opScan, func(c *call) error {
		pairs, err = guard(c, func(ctx context.Context) ([]router.Pair, error) {
			return scan(ctx, c.client, newest, r)
		})
		return c.failed("scan", err)
	})
	return pairs, err
}

// Now returns a timestamp.
func (s *Store) Now(ctx context.Context) (now router.Timestamp, err error) {
	err = s.do(ctx, opNow, func(c *call) error {
		now, err = c.now()
		return err
	})
	return now, err
}

func (c *call) now() (router.Timestamp, error) {
	ts, err := guard(c, func(ctx context.Context) (uint64, error) {
		bo := tikv.NewBackofferWithVars(ctx, c.store.backoffMS(), nil)
		return c.client.GetTimestampWithRetry(bo, oracle.GlobalTxnScope)
	})
	return router.Timestamp(ts), c.failed("timestamp", err)
}

// backoffMS bounds the sum of the pauses between client-go's own attempts.
func (s *Store) backoffMS() int { return int(s.config.Timeout.Milliseconds()) }
