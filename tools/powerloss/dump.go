package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine"
)

const (
	pageEntries = 100
	pageBytes   = 64 << 10
)

// dumper reads one log in every way there is, and says what it finds and where
// the ways contradict each other.
type dumper struct {
	*child
	out  io.Writer
	log  uint64
	head uint64

	first, last uint64 // sequences, 0: there is no entry
	chain       uint64
	convs       [conversations]uint64 // entries of each
}

func (d *dumper) contradict(format string, args ...any) {
	_, _ = d.out.Write(appendLine(nil, lineInconsistent, fmt.Sprintf("log %#x: ", d.log)+fmt.Sprintf(format, args...)))
}

func (d *dumper) run() error {
	v := d.store.View(d.store.Group(godwit.LogID(d.log).Partition()))
	defer v.Close()
	row, ok := d.rows(v)
	d.head = uint64(v.Head(godwit.LogID(d.log)))
	d.entries(v)
	if err := v.Err(); err != nil {
		return err // what was read is not whole
	}
	if row.count != d.head || !ok && d.head > 0 {
		d.contradict("the row counts %d, the head is %d", row.count, d.head)
	}
	if d.last > 0 && row.chain != d.chain {
		d.contradict("the row's chain is not that of entry %d", d.last)
	}
	for conv := range uint32(conversations) {
		d.conversation(v, conv, row.newest[conv])
	}
	if err := v.Err(); err != nil {
		return err
	}
	_, err := d.out.Write(appendLine(nil, lineHead, "", d.log, d.head))
	return err
}

// rows returns the log's row and looks whether the newest entries, and no
// others, have theirs.
func (d *dumper) rows(v *engine.View) (row logRow, ok bool) {
	if value, found := v.Get(logKey(d.log)); found {
		if row, ok = parseLogRow(value); !ok {
			d.contradict("its row has %d bytes", len(value))
		}
	}
	want := row.count - min(row.count, dedupRows) + 1
	v.Scan(dedupPrefix(d.log), func(key, value []byte) bool {
		seq := binary.BigEndian.Uint64(key[len(key)-8:])
		if seq != want || !bytes.Equal(value, logKey(d.log)) {
			d.contradict("a row for sequence %d, want %d", seq, want)
		}
		want++
		return true
	})
	if want != row.count+1 {
		d.contradict("rows up to sequence %d, want %d", want-1, row.count)
	}
	return row, ok
}

// entries reads the log forwards.
func (d *dumper) entries(v *engine.View) {
	var page []engine.Entry
	for after := godwit.Seq(0); ; after = page[len(page)-1].Seq {
		page = v.Since(godwit.LogID(d.log), after, pageEntries, pageBytes, page[:0])
		if len(page) == 0 {
			return
		}
		for i := range page {
			d.entry(&page[i])
		}
	}
}

func (d *dumper) entry(e *engine.Entry) {
	id, chain, ok := parseEntryMeta(e.Meta)
	hash := xxhash.Sum64(e.Body)
	switch {
	case !ok:
		d.contradict("entry %d has a Meta of %d bytes", e.Seq, len(e.Meta))
	case d.last > 0 && chained(d.chain, hash) != chain:
		d.contradict("entry %d breaks the chain", e.Seq)
	case uint64(e.Conv) != hash%conversations+1:
		d.contradict("entry %d is of conversation %d", e.Seq, e.Conv)
	default:
		d.convs[e.Conv-1]++
	}
	if d.first == 0 {
		d.first = uint64(e.Seq)
	}
	d.chain, d.last = chain, uint64(e.Seq)
	_, _ = d.out.Write(appendLine(nil, lineEntry, "", d.log, uint64(e.Seq), uint64(id.life), id.n, hash))
}

// conversation reads one backwards and counts.
func (d *dumper) conversation(v *engine.View, conv uint32, newest uint64) {
	var page []engine.Entry
	count := uint64(0)
	for before := godwit.Seq(0); ; before = page[0].Seq {
		var more bool
		page, more = v.Conversation(godwit.LogID(d.log), conv+1, engine.Page{
			Newest: godwit.Seq(newest), Before: before, Limit: pageEntries, BytesMax: pageBytes,
		}, page[:0])
		count += uint64(len(page))
		if !more || len(page) == 0 {
			break
		}
	}
	if count != d.convs[conv] {
		d.contradict("backwards conversation %d has %d entries, forwards %d", conv+1, count, d.convs[conv])
	}
}
