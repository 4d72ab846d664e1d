package main

import (
	"bytes"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"
)

// boltStore keeps the same keys as pebbleStore in one bucket. bbolt's own
// Batch waits for a timer; here one transaction holds what queued during the
// last, in the order of keys.
type boltStore struct {
	*grouper
	db    *bbolt.DB
	heads []uint32 // of the committer, then of the reader
}

var boltBucket = []byte("m")

func openBolt(o openOptions) (peer, error) {
	db, err := bbolt.Open(filepath.Join(o.Dir, "bolt.db"), 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(boltBucket)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &boltStore{db: db, heads: make([]uint32, o.Users)}
	s.grouper = newGrouper(1, s.commit)
	return s, nil
}

func (s *boltStore) commit(batch []*pending) error {
	slices.SortFunc(batch, func(a, b *pending) int { return int(int64(a.user) - int64(b.user)) })
	return s.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(boltBucket)
		for _, p := range batch {
			s.heads[p.user]++
			if err := bucket.Put(appendKey(nil, p.user, s.heads[p.user]), p.text); err != nil {
				return err
			}
		}
		return nil
	})
}

// Settle has nothing to do: bbolt works in the foreground only.
func (s *boltStore) Settle(<-chan struct{}) error { return nil }

// Prepare fills the heads.
func (s *boltStore) Prepare(heads []uint32) { copy(s.heads, heads) }

// Page reads as pebbleStore does.
func (s *boltStore) Page(user uint32, from uint64, limit int, fn func([]byte)) (uint64, error) {
	end := s.heads[user]
	if from > 0 {
		end = uint32(from) - 1
	}
	if end == 0 {
		return 0, nil
	}
	first := uint32(max(1, int64(end)-int64(limit)+1))
	err := s.db.View(func(tx *bbolt.Tx) error {
		c, last := tx.Bucket(boltBucket).Cursor(), appendKey(nil, user, end)
		for key, text := c.Seek(appendKey(nil, user, first)); key != nil && bytes.Compare(key, last) <= 0; key, text = c.Next() {
			fn(text)
		}
		return nil
	})
	if err != nil || first == 1 {
		return 0, err
	}
	return uint64(first), nil
}

// Count reads every key.
func (s *boltStore) Count() (n uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(boltBucket).ForEach(func(_, _ []byte) error {
			n++
			return nil
		})
	})
	return n, err
}

func (s *boltStore) Close() error {
	s.close()
	return s.db.Close()
}
