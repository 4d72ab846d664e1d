package engine

import (
	"encoding/binary"
	"fmt"
	"maps"

	"github.com/godwit-im/godwit"
)

// erasures is what must not be seen although it may still be on disk. A nil set
// is empty. Immutable: a batch that erases makes a new one.
type erasures struct {
	marks map[eraseKey]eraseMark
	// expired: entries with an older Time are gone in all logs.
	expired     int64
	expiredMark eraseMark
}

// eraseKey names a conversation of a log, or with conv 0 the whole log.
type eraseKey struct {
	log  LogID
	conv uint32
}

// eraseMark says how far something is erased, and what may still hold it:
// segments with a lower id than before, and the WAL's files of that time.
type eraseMark struct {
	upTo   godwit.Seq // 0 for expiredMark
	before uint64
	stamp  int64 // log time when it was erased
}

// has reports whether an entry is erased.
func (e *erasures) has(log LogID, entry *Entry) bool {
	if e == nil {
		return false
	}
	return entry.Time < e.expired || entry.Seq <= e.marks[eraseKey{log, 0}].upTo ||
		entry.Seq <= e.marks[eraseKey{log, entry.Conv}].upTo
}

func (e *erasures) clone() *erasures {
	if e == nil {
		return &erasures{marks: map[eraseKey]eraseMark{}}
	}
	c := *e
	c.marks = maps.Clone(e.marks)
	return &c
}

// Erase makes the entries of log up to a sequence vanish: at once for readers,
// within Config.EraseWithin from the disk. Their sequences are not used again.
func (tx *Tx) Erase(log LogID, upTo godwit.Seq) { tx.erase(eraseKey{log, 0}, upTo) }

// EraseConversation is Erase for one conversation (not 0) of log.
func (tx *Tx) EraseConversation(log LogID, conv uint32, upTo godwit.Seq) {
	if conv == 0 {
		panic("BUG: conversation 0 is none")
	}
	tx.erase(eraseKey{log, conv}, upTo)
}

func (tx *Tx) erase(key eraseKey, upTo godwit.Seq) {
	upTo = min(upTo, tx.state.head(key.log))
	if upTo <= tx.erasing().marks[key].upTo {
		return
	}
	mark := eraseMark{upTo: upTo, before: tx.segments.Load(), stamp: tx.stamp}
	tx.erased.marks[key] = mark
	tx.state.rows.Put(key.row(), mark.append(nil))
}

// ExpireBefore erases all entries of the group with an older Time (ms since the
// Unix epoch). It never goes back.
func (tx *Tx) ExpireBefore(time int64) {
	if time <= tx.erasing().expired {
		return
	}
	tx.erased.expired = time
	tx.erased.expiredMark = eraseMark{before: tx.segments.Load(), stamp: tx.stamp}
	value := tx.erased.expiredMark.append(binary.BigEndian.AppendUint64(nil, uint64(time)))
	tx.state.rows.Put(expiredRow(), value)
}

// erasing is the set that the batch leaves behind.
func (tx *Tx) erasing() *erasures {
	if tx.erased == nil {
		tx.erased = tx.state.erased.clone()
	}
	return tx.erased
}

// Rows of the engine, beside the Machine's: what is erased and may be on disk.
//
//	0xff 'e' log u64 BE, conv u32 BE   upTo, before, stamp: u64 BE each
//	0xff 'x'                           time u64 BE, then 0, before, stamp
const (
	rowErased  = 'e'
	rowExpired = 'x'

	eraseMarkBytes = 24
	eraseKeyBytes  = 2 + 8 + 4
)

func expiredRow() []byte { return []byte{ownRows, rowExpired} }

func (k eraseKey) row() []byte {
	dst := binary.BigEndian.AppendUint64([]byte{ownRows, rowErased}, uint64(k.log))
	return binary.BigEndian.AppendUint32(dst, k.conv)
}

func (m eraseMark) append(dst []byte) []byte {
	for _, v := range [...]uint64{uint64(m.upTo), m.before, uint64(m.stamp)} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

func parseEraseMark(src []byte) eraseMark {
	be := binary.BigEndian
	return eraseMark{upTo: godwit.Seq(be.Uint64(src)), before: be.Uint64(src[8:]), stamp: int64(be.Uint64(src[16:]))}
}

// loadErasures reads the group's own rows. Called by Open, before the WAL.
func (st *state) loadErasures() error {
	var e *erasures
	var bad error
	err := st.rows.Scan([]byte{ownRows}, func(key, value []byte) bool {
		if e == nil {
			e = e.clone()
		}
		switch {
		case len(key) == eraseKeyBytes && key[1] == rowErased && len(value) == eraseMarkBytes:
			k := eraseKey{LogID(binary.BigEndian.Uint64(key[2:])), binary.BigEndian.Uint32(key[10:])}
			e.marks[k] = parseEraseMark(value)
		case len(key) == 2 && key[1] == rowExpired && len(value) == 8+eraseMarkBytes:
			e.expired = int64(binary.BigEndian.Uint64(value))
			e.expiredMark = parseEraseMark(value[8:])
		default:
			bad = fmt.Errorf("%w: row %x of the engine", ErrFormat, key)
		}
		return bad == nil
	})
	st.erased = e
	if err == nil {
		err = bad
	}
	return err
}
