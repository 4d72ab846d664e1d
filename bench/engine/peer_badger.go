package main

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// badgerStore keeps the same keys as pebbleStore. One transaction holds what
// queued during the last two: two committers, because Badger pipelines.
type badgerStore struct {
	*grouper
	db    *badger.DB
	heads []atomic.Uint32
}

func openBadger(o openOptions) (peer, error) {
	opts := badger.LSMOnlyOptions(o.Dir).WithSyncWrites(true).WithDetectConflicts(false).
		WithBlockCacheSize(o.CacheBytes).WithLoggingLevel(badger.ERROR).WithMetricsEnabled(false).
		WithCompression(options.None)
	if o.Compress {
		opts = opts.WithCompression(options.ZSTD).WithZSTDCompressionLevel(1)
	}
	db, err := badger.Open(opts)
	if err != nil {
		return nil, err
	}
	s := &badgerStore{db: db, heads: make([]atomic.Uint32, o.Users)}
	s.grouper = newGrouper(2, s.commit)
	return s, nil
}

func (s *badgerStore) commit(batch []*pending) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for _, p := range batch {
		key := appendKey(nil, p.user, s.heads[p.user].Add(1)) // kept until the commit
		if err := txn.Set(key, p.text); err != nil {
			return err
		}
	}
	return txn.Commit()
}

// Settle waits until the process rests: Badger does not tell.
func (s *badgerStore) Settle(stop <-chan struct{}) error { return waitQuiet(stop, time.Second) }

// Prepare fills the heads.
func (s *badgerStore) Prepare(heads []uint32) {
	for user, seq := range heads {
		s.heads[user].Store(seq)
	}
}

// Page reads as pebbleStore does.
func (s *badgerStore) Page(user uint32, from uint64, limit int, fn func([]byte)) (uint64, error) {
	end := s.heads[user].Load()
	if from > 0 {
		end = uint32(from) - 1
	}
	if end == 0 {
		return 0, nil
	}
	first := uint32(max(1, int64(end)-int64(limit)+1))
	prefix := binary.BigEndian.AppendUint32(nil, user)
	err := s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchValues: true, PrefetchSize: limit})
		defer it.Close()
		seq := first
		for it.Seek(appendKey(nil, user, first)); it.ValidForPrefix(prefix) && seq <= end; it.Next() {
			if err := it.Item().Value(func(text []byte) error { fn(text); return nil }); err != nil {
				return err
			}
			seq++
		}
		return nil
	})
	if err != nil || first == 1 {
		return 0, err
	}
	return uint64(first), nil
}

// Count reads every key.
func (s *badgerStore) Count() (n uint64, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	})
	return n, err
}

func (s *badgerStore) Close() error {
	s.close()
	return s.db.Close()
}
