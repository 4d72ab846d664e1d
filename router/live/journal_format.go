package live

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/godwit-im/godwit"
)

// The journal's file, see docs/formats/lastseen.md: a header, and blocks. Integers
// are little endian, checksums CRC32C.
const (
	journalMagic     = "\x7fgwtSeen"
	journalVersion   = 1
	headerSizeBytes  = 16
	blockHeaderBytes = 16
	// blockBytes is when a block ends; one has at most a record more.
	blockBytes    = 64 << 10
	blockBytesMax = blockBytes + recordBytesMax
	// recordBytesMax: kind, length, user, time.
	recordBytesMax = 2 + godwit.IDBytesMax + binary.MaxVarintLen64
	// timeMaxMS is beyond any time, so that sums of them don't overflow.
	timeMaxMS = 1 << 60
)

// Kinds of records. Each replaces what stood before of its user.
const (
	recordOnline  = 1 // he has a session; if it is the last word, he was seen when the last block was written
	recordLeft    = 2 // he has none since the time in it
	recordUnknown = 3 // nothing is known of him
)

var (
	errNoJournal = errors.New("it is no file of last seen times, or of another version")
	errJournal   = errors.New("it is damaged")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func appendJournalHeader(b []byte) []byte {
	at := len(b)
	b = append(b, journalMagic...)
	b = binary.LittleEndian.AppendUint32(b, journalVersion)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// blocks is a run of blocks of one moment, as they stand in the file.
type blocks struct {
	buf  []byte
	now  int64
	open bool
	from int // where the open block begins
}

func (e *blocks) begin() {
	e.open, e.from = true, len(e.buf)
	e.buf = append(e.buf, make([]byte, blockHeaderBytes)...)
	binary.LittleEndian.PutUint64(e.buf[e.from+8:], uint64(e.now))
}

// add appends a record; ms counts for recordLeft only.
func (e *blocks) add(kind byte, user godwit.UserID, ms int64) {
	if !e.open {
		e.begin()
	}
	e.buf = append(e.buf, kind, byte(len(user)))
	e.buf = append(e.buf, user...)
	if kind == recordLeft {
		e.buf = binary.AppendVarint(e.buf, e.now-ms)
	}
	if len(e.buf)-e.from-blockHeaderBytes >= blockBytes {
		e.end()
	}
}

// end completes the open block, if there is one.
func (e *blocks) end() {
	if !e.open {
		return
	}
	e.open = false
	b := e.buf[e.from:]
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-blockHeaderBytes))
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

// known is what the file says of a user.
type known struct {
	ms     int64
	online bool
}

// journal is what a file says.
type journal struct {
	users map[godwit.UserID]known
	ms    int64 // when its last block was written; 0: there is none
	torn  bool  // its end was left out: a write was cut short
}

// parseJournal reads a whole file. A last block that is not whole, or nothing but
// zeros, is what a crash leaves and counts as not written; with any other damage
// nothing in the file is believed.
func parseJournal(src []byte) (j journal, err error) {
	if len(src) < headerSizeBytes || string(src[:headerSizeBytes]) != string(appendJournalHeader(nil)) {
		return journal{}, errNoJournal
	}
	j.users = map[godwit.UserID]known{}
	for src = src[headerSizeBytes:]; len(src) > 0; {
		size := -1
		if len(src) >= blockHeaderBytes {
			size = int(binary.LittleEndian.Uint32(src[4:]))
		}
		switch {
		case isZero(src), size < 0, size <= blockBytesMax && len(src) < blockHeaderBytes+size:
			j.torn = true
			return j, nil
		case size > blockBytesMax:
			return journal{}, errJournal
		}
		block, rest := src[:blockHeaderBytes+size], src[blockHeaderBytes+size:]
		if crc32.Checksum(block[4:], castagnoli) != binary.LittleEndian.Uint32(block) {
			if len(rest) > 0 {
				return journal{}, errJournal
			}
			j.torn = true
			return j, nil
		}
		if !j.take(block) {
			return journal{}, errJournal
		}
		src = rest
	}
	return j, nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// take applies the records of a block whose checksum is right.
func (j *journal) take(block []byte) bool {
	now := binary.LittleEndian.Uint64(block[8:])
	if now == 0 || now > timeMaxMS {
		return false
	}
	j.ms = int64(now)
	for b := block[blockHeaderBytes:]; len(b) > 0; {
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return false
		}
		kind, user := b[0], godwit.UserID(b[2:2+int(b[1])])
		b = b[2+len(user):]
		if !godwit.ValidID(user) {
			return false
		}
		switch kind {
		case recordOnline:
			j.users[user] = known{online: true}
		case recordUnknown:
			delete(j.users, user)
		case recordLeft:
			ago, n := binary.Varint(b)
			ms := j.ms - ago
			if n <= 0 || ago < -timeMaxMS || ago > timeMaxMS || ms <= 0 {
				return false
			}
			j.users[user] = known{ms: ms}
			b = b[n:]
		default:
			return false
		}
	}
	return true
}
