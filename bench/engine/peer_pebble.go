package main

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// pebbleStore keeps a message under user and sequence, both big-endian. The
// newest sequence of every user is in memory, so that an append reads nothing.
type pebbleStore struct {
	db    *pebble.DB
	heads []atomic.Uint32
	group *grouper
}

// groupAppenders: from so many on, one batch of all that queued is faster than
// Pebble's own group commit (1.6 times at 1024), below it is not.
const groupAppenders = 256

const (
	userKeyBytes = 4
	keyBytes     = userKeyBytes + 4
)

func appendKey(dst []byte, user, seq uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, user)
	return binary.BigEndian.AppendUint32(dst, seq)
}

// pebbleOptions: see the package comment on what was tried.
func pebbleOptions(o openOptions) *pebble.Options {
	comparer := *pebble.DefaultComparer
	comparer.Name = "godwit.bench.user" // bloom filters hold users
	comparer.Split = func(key []byte) int { return min(len(key), userKeyBytes) }
	opts := &pebble.Options{
		Comparer:                    &comparer,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   o.CacheBytes,
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       1000,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                4096,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      pebbleLogger{},
	}
	opts.TargetFileSizes[0] = 4 << 20
	for i := range opts.Levels {
		l := &opts.Levels[i]
		l.BlockSize, l.IndexBlockSize = 16<<10, 256<<10
		l.FilterPolicy, l.FilterType = bloom.FilterPolicy(10), pebble.TableFilter
	}
	compression := pebble.DBCompressionNone
	if o.Compress {
		compression = pebble.DBCompressionBalanced
	}
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return compression })
	return opts
}

// pebbleLogger drops what Pebble tells in normal operation.
type pebbleLogger struct{}

func (pebbleLogger) Infof(string, ...any)              {}
func (pebbleLogger) Errorf(format string, args ...any) { pebble.DefaultLogger.Errorf(format, args...) }

func (pebbleLogger) Fatalf(format string, args ...any) { pebble.DefaultLogger.Fatalf(format, args...) }

func openPebble(o openOptions) (peer, error) {
	db, err := pebble.Open(o.Dir, pebbleOptions(o))
	if err != nil {
		return nil, err
	}
	s := &pebbleStore{db: db, heads: make([]atomic.Uint32, o.Users)}
	s.group = newGrouper(1, s.commit)
	return s, nil
}

// commit is called by the one committer.
func (s *pebbleStore) commit(queued []*pending) error {
	batch := s.db.NewBatchWithSize(len(queued) * (messageBytes + 16))
	defer batch.Close()
	var key [keyBytes]byte
	for _, p := range queued {
		if err := batch.Set(appendKey(key[:0], p.user, s.heads[p.user].Add(1)), p.text, nil); err != nil {
			return err
		}
	}
	return s.db.Apply(batch, pebble.Sync)
}

// pebbleAppender commits with Pebble's own group commit.
type pebbleAppender struct {
	store *pebbleStore
	batch *pebble.Batch
	key   []byte
}

func (s *pebbleStore) Appender(among int) appender {
	if among >= groupAppenders {
		return s.group.Appender(among)
	}
	return &pebbleAppender{store: s, batch: s.db.NewBatch()}
}

func (a *pebbleAppender) Append(user uint32, text []byte) error {
	a.batch.Reset()
	a.key = appendKey(a.key[:0], user, a.store.heads[user].Add(1))
	if err := a.batch.Set(a.key, text, nil); err != nil {
		return err
	}
	return a.store.db.Apply(a.batch, pebble.Sync)
}

// Settle flushes and waits until Pebble finds nothing more to compact.
func (s *pebbleStore) Settle(stop <-chan struct{}) error {
	if err := s.db.Flush(); err != nil {
		return err
	}
	for quiet := 0; quiet < 5; {
		select {
		case <-stop:
			return nil
		case <-time.After(20 * time.Millisecond):
		}
		m := s.db.Metrics()
		if m.Compact.NumInProgress == 0 && m.Flush.NumInProgress == 0 {
			quiet++
		} else {
			quiet = 0
		}
	}
	return nil
}

// Prepare fills the heads.
func (s *pebbleStore) Prepare(heads []uint32) {
	for user, seq := range heads {
		s.heads[user].Store(seq)
	}
}

// Page reads the newest messages before from, ascending: with the head known it
// seeks their first, so that the bloom filters help.
func (s *pebbleStore) Page(user uint32, from uint64, limit int, fn func([]byte)) (uint64, error) {
	end := s.heads[user].Load()
	if from > 0 {
		end = uint32(from) - 1
	}
	if end == 0 {
		return 0, nil
	}
	first := uint32(max(1, int64(end)-int64(limit)+1))
	var bounds [2 * keyBytes]byte
	low := appendKey(bounds[:0], user, first)
	high := appendKey(low, user, end+1)[keyBytes:]
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return 0, err
	}
	for it.SeekPrefixGE(low); it.Valid(); it.Next() {
		fn(it.Value())
	}
	if err := it.Close(); err != nil {
		return 0, err
	}
	if first == 1 {
		return 0, nil
	}
	return uint64(first), nil
}

// Count reads every key.
func (s *pebbleStore) Count() (n uint64, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return 0, err
	}
	for it.First(); it.Valid(); it.Next() {
		n++
	}
	return n, it.Close()
}

func (s *pebbleStore) Close() error {
	s.group.close()
	return s.db.Close()
}
