package engine

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// messageStore is what the metamorphic test asks of the engine and of its
// oracles.
type messageStore interface {
	do(op ledgerOp, log LogID, seq godwit.Seq, prev godwit.Seq, time int64)
	expire(group int, before int64)
	since(log LogID, after godwit.Seq, limit int) []Entry
	conversation(log LogID, conv uint32, p Page) (entries []Entry, more bool)
	entry(log LogID, seq godwit.Seq) (Entry, bool)
}

// pebbleStore keeps messages in Pebble alone: log u64 BE, sequence u64 BE is the
// key, erasing is deleting. It knows nothing of segments, pointers and marks.
type pebbleStore struct {
	t      testing.TB
	db     *pebble.DB
	groups func(LogID) int
}

func newPebbleStore(t testing.TB, groupOf func(LogID) int) *pebbleStore {
	db, err := pebble.Open("oracle", &pebble.Options{FS: vfs.NewMem(), Logger: quietLogger{}, MemTableSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return &pebbleStore{t, db, groupOf}
}

type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(format string, _ ...any) {
	panic(format)
}

func (p *pebbleStore) must(err error) {
	if err != nil {
		panic(err)
	}
}

func (p *pebbleStore) close() { p.must(p.db.Close()) }

func pebbleKey(log LogID, seq godwit.Seq) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(log)), uint64(seq))
}

func (p *pebbleStore) put(log LogID, e *Entry) {
	v := binary.BigEndian.AppendUint32(nil, e.Conv)
	v = binary.BigEndian.AppendUint64(v, uint64(e.Prev))
	v = binary.BigEndian.AppendUint64(v, uint64(e.Time))
	v = append(append(v, byte(len(e.Meta))), e.Meta...)
	p.must(p.db.Set(pebbleKey(log, e.Seq), append(v, e.Body...), pebble.NoSync))
}

func parsePebble(key, v []byte) (LogID, Entry) {
	v = slices.Clone(v)
	meta := v[21 : 21+int(v[20])]
	return LogID(binary.BigEndian.Uint64(key)), Entry{
		Seq: godwit.Seq(binary.BigEndian.Uint64(key[8:])), Conv: binary.BigEndian.Uint32(v),
		Prev: godwit.Seq(binary.BigEndian.Uint64(v[4:])), Time: int64(binary.BigEndian.Uint64(v[12:])),
		Meta: meta, Body: v[21+len(meta):],
	}
}

// scan calls fn for the keys of [lower, upper) until it returns false.
func (p *pebbleStore) scan(lower, upper []byte, fn func(log LogID, e Entry) bool) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	p.must(err)
	for ok := it.First(); ok && fn(parsePebble(it.Key(), it.Value())); ok = it.Next() {
	}
	p.must(it.Close())
}

func (p *pebbleStore) do(op ledgerOp, log LogID, seq, prev godwit.Seq, time int64) {
	switch op.kind {
	case 'a':
		p.put(log, &Entry{Seq: seq, Prev: prev, Conv: op.conv, Time: time, Meta: op.meta, Body: []byte(op.body)})
	case 'e':
		p.must(p.db.DeleteRange(pebbleKey(log, 0), pebbleKey(log, op.upTo+1), pebble.NoSync))
	case 'c':
		p.scan(pebbleKey(log, 0), pebbleKey(log, op.upTo+1), func(_ LogID, e Entry) bool {
			if e.Conv == op.conv {
				p.must(p.db.Delete(pebbleKey(log, e.Seq), pebble.NoSync))
			}
			return true
		})
	}
}

func (p *pebbleStore) expire(group int, before int64) {
	p.scan(nil, nil, func(log LogID, e Entry) bool {
		if p.groups(log) == group && e.Time < before {
			p.must(p.db.Delete(pebbleKey(log, e.Seq), pebble.NoSync))
		}
		return true
	})
}

func (p *pebbleStore) since(log LogID, after godwit.Seq, limit int) (out []Entry) {
	if after == 1<<64-1 {
		return nil
	}
	p.scan(pebbleKey(log, after+1), pebbleKey(log+1, 0), func(_ LogID, e Entry) bool {
		out = append(out, e)
		return len(out) < limit
	})
	return out
}

func (p *pebbleStore) conversation(log LogID, conv uint32, page Page) (out []Entry, more bool) {
	p.scan(pebbleKey(log, 0), pebbleKey(log+1, 0), func(_ LogID, e Entry) bool {
		switch {
		case e.Conv != conv || e.Seq > page.Newest, page.Forward && e.Seq <= page.After:
		case !page.Forward && page.Before != 0 && e.Seq >= page.Before:
		case page.Forward && len(out) == page.Limit:
			more = true
			return false
		default:
			out = append(out, e)
		}
		return true
	})
	if n := len(out) - page.Limit; !page.Forward && n > 0 {
		return out[n:], true
	}
	return out, more
}

func (p *pebbleStore) entry(log LogID, seq godwit.Seq) (e Entry, ok bool) {
	if seq == 0 || seq == 1<<64-1 {
		return Entry{}, false
	}
	p.scan(pebbleKey(log, seq), pebbleKey(log, seq+1), func(_ LogID, found Entry) bool {
		e, ok = found, true
		return false
	})
	return e, ok
}
