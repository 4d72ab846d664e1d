package main

import (
	"encoding/binary"
	"fmt"
	"path/filepath"

	"github.com/godwit-im/godwit/engine/wal"
)

// bareLog is the write-ahead log of the engine alone, with a group commit on
// top: what the engine costs beyond it is raft, the memtable and the flush.
type bareLog struct {
	*grouper
	log     *wal.Log
	records []wal.Record // of the commit under way
	buf     []byte

	count  uint64
	sample map[uint32][][]byte // texts of the users named at open, as they came back
}

// logKind marks a message: its payload is the user, u32 LE, and the text.
const logKind wal.Kind = 1

func openLog(o openOptions) (peer, error) {
	l := &bareLog{sample: map[uint32][][]byte{}}
	for _, user := range o.Sample {
		l.sample[user] = nil
	}
	var err error
	if l.log, err = wal.Open(wal.Config{Dir: filepath.Join(o.Dir, "wal")}, l.replay); err != nil {
		return nil, err
	}
	l.grouper = newGrouper(1, l.commit)
	return l, nil
}

func (l *bareLog) replay(_ uint64, r wal.Record) error {
	if r.Kind != logKind || len(r.Payload) < 4 {
		return fmt.Errorf("record of kind %d and %d bytes", r.Kind, len(r.Payload))
	}
	l.count++
	user := binary.LittleEndian.Uint32(r.Payload)
	if texts, ok := l.sample[user]; ok {
		l.sample[user] = append(texts, append([]byte(nil), r.Payload[4:]...))
	}
	return nil
}

// commit is called by the one committer.
func (l *bareLog) commit(batch []*pending) error {
	l.buf, l.records = l.buf[:0], l.records[:0]
	for _, p := range batch {
		l.buf = binary.LittleEndian.AppendUint32(l.buf, p.user)
		l.buf = append(l.buf, p.text...)
	}
	rest := l.buf
	for _, p := range batch {
		n := 4 + len(p.text)
		l.count++
		l.records = append(l.records, wal.Record{Kind: logKind, Term: 1, Index: l.count, Payload: rest[:n:n]})
		rest = rest[n:]
	}
	if err := l.log.Append(l.records); err != nil {
		return err
	}
	return l.log.Sync()
}

func (l *bareLog) Settle(<-chan struct{}) error { return nil }
func (l *bareLog) Prepare([]uint32)             {}
func (l *bareLog) Count() (uint64, error)       { return l.count, nil }

// Page gives what the replay at open found, for the users named there.
func (l *bareLog) Page(user uint32, from uint64, limit int, fn func([]byte)) (uint64, error) {
	texts, ok := l.sample[user]
	if !ok {
		return 0, errNoReads
	}
	end := min(int(from)+limit, len(texts))
	for _, text := range texts[from:end] {
		fn(text)
	}
	if end == len(texts) {
		return 0, nil
	}
	return uint64(end), nil
}

func (l *bareLog) Close() error {
	l.close()
	return l.log.Close()
}
