package memtable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

// seqsModel is a table as plain slices.
type seqsModel map[godwit.LogID][]godwit.Record

func (m seqsModel) since(log godwit.LogID, after godwit.Seq, limit, bytesMax int) (out []godwit.Record) {
	sum := 0
	for _, r := range m[log] {
		if r.Seq <= after {
			continue
		}
		sum += len(r.Meta) + len(r.Body)
		if len(out) > 0 && (len(out) >= limit || sum > bytesMax) {
			break
		}
		out = append(out, r)
	}
	return out
}

func sameRecord(a, b godwit.Record) bool {
	return a.Seq == b.Seq && a.Conv == b.Conv && a.Prev == b.Prev && a.Time == b.Time &&
		bytes.Equal(a.Meta, b.Meta) && bytes.Equal(a.Body, b.Body)
}

func wantRecords(t rapid.TB, what string, got, want []godwit.Record) {
	t.Helper()
	if !slices.EqualFunc(got, want, sameRecord) {
		t.Fatalf("%s: got %s, want %s", what, seqs(got), seqs(want))
	}
}

// seqs prints records short.
func seqs(records []godwit.Record) string {
	var b []byte
	for _, r := range records {
		b = fmt.Appendf(b, "%d(%d,%d,%d:%d+%d) ", r.Seq, r.Conv, r.Prev, r.Time, len(r.Meta), len(r.Body))
	}
	return string(b)
}

// drawRecord draws a record of any shape but its sequence.
func drawRecord(t *rapid.T, seq godwit.Seq, bodies [][]byte) godwit.Record {
	r := godwit.Record{
		Seq:  seq,
		Conv: rapid.Uint32().Draw(t, "conv"),
		Time: rapid.Int64().Draw(t, "time"),
		Meta: rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "meta"),
	}
	r.Prev = godwit.Seq(rapid.Uint64Range(0, uint64(seq)-1).Draw(t, "prev"))
	r.Body = bodies[rapid.IntRange(0, len(bodies)-1).Draw(t, "body")]
	return r
}

// TestTableIsAMapOfSlices compares a table with plain slices.
func TestTableIsAMapOfSlices(t *testing.T) {
	bodies := [][]byte{nil, {1}, bytes.Repeat([]byte("ab"), 64), bytes.Repeat([]byte{7}, 700), bytes.Repeat([]byte{9}, 300<<10)}
	logs := []godwit.LogID{0, 1, 2, godwit.NewLogID(3, 1), ^godwit.LogID(0)}
	rapid.Check(t, func(t *rapid.T) {
		table, model := NewTable(), seqsModel{}
		n := 0
		for range rapid.IntRange(0, 30).Draw(t, "runs") {
			log := rapid.SampledFrom(logs).Draw(t, "log")
			next := godwit.Seq(rapid.Uint64Range(1, uint64(SeqMax)-1e6).Draw(t, "first"))
			if have := model[log]; len(have) > 0 {
				next = have[len(have)-1].Seq + 1
			}
			r := drawRecord(t, next, bodies)
			for range rapid.SampledFrom([]int{1, 2, 5, 300}).Draw(t, "length") {
				r.Seq = next
				table.Append(log, r)
				model[log] = append(model[log], r)
				next++
				n++
			}
		}
		if table.Len() != n || table.Logs() != len(model) {
			t.Fatalf("%d entries of %d logs, want %d of %d", table.Len(), table.Logs(), n, len(model))
		}
		for _, log := range logs {
			compareLog(t, table, model, log)
		}
		compareAll(t, table, model)
	})
}

func compareLog(t *rapid.T, table *Table, model seqsModel, log godwit.LogID) {
	want := model[log]
	first, ok := table.First(log)
	head, _ := table.Head(log)
	if ok != (len(want) > 0) {
		t.Fatalf("log %x: First says %v", log, ok)
	}
	if !ok {
		if _, ok := table.Entry(log, 1); ok || len(table.Since(log, 0, 9, 9, nil)) > 0 {
			t.Fatalf("log %x has an entry from nowhere", log)
		}
		return
	}
	if first != want[0].Seq || head != want[len(want)-1].Seq {
		t.Fatalf("log %x is %d to %d, want %d to %d", log, first, head, want[0].Seq, want[len(want)-1].Seq)
	}
	for _, r := range want {
		got, ok := table.Entry(log, r.Seq)
		if !ok || !sameRecord(got, r) {
			t.Fatalf("entry %d of log %x is %s (%v), want %s", r.Seq, log, seqs([]godwit.Record{got}), ok, seqs([]godwit.Record{r}))
		}
	}
	for _, seq := range []godwit.Seq{0, first - 1, head + 1, SeqMax + head} {
		if _, ok := table.Entry(log, seq); ok {
			t.Fatalf("log %x has an entry %d, it is %d to %d", log, seq, first, head)
		}
	}
	for range 5 {
		after := godwit.Seq(rapid.Uint64Range(uint64(first)-1, uint64(head)+1).Draw(t, "after"))
		limit := rapid.IntRange(0, 400).Draw(t, "limit")
		bytesMax := rapid.SampledFrom([]int{0, 10, 1000, 20_000, 1 << 30}).Draw(t, "bytesMax")
		prefix := []godwit.Record{{Seq: 99}}
		got := table.Since(log, after, limit, bytesMax, prefix)
		wantRecords(t, "since", got, append(prefix, model.since(log, after, limit, bytesMax)...))
	}
	wantRecords(t, "since 0", table.Since(log, 0, 1<<62, 1<<62, nil), want)
	var back []godwit.Record
	for r := range table.Backward(log) {
		back = append(back, r)
	}
	slices.Reverse(back)
	wantRecords(t, "backward", back, want)
}

func compareAll(t *rapid.T, table *Table, model seqsModel) {
	seen := 0
	var previous godwit.LogID
	for log, records := range table.All() {
		if seen > 0 && log <= previous {
			t.Fatalf("log %x comes after %x", log, previous)
		}
		previous = log
		seen++
		var got []godwit.Record
		for r := range records {
			got = append(got, r)
		}
		wantRecords(t, "all", got, model[log])
	}
	if seen != len(model) {
		t.Fatalf("All yields %d logs, want %d", seen, len(model))
	}
}

// message returns the i-th of many different records with a body of n bytes.
func message(buf []byte, seq godwit.Seq, i int) godwit.Record {
	binary.LittleEndian.PutUint64(buf, uint64(i))
	return godwit.Record{Seq: seq, Conv: 1, Prev: seq - 1, Time: int64(i), Meta: buf[:16], Body: buf}
}

// TestLongLogsAreWalkedInSections crosses the section sizes of Since and All.
func TestLongLogsAreWalkedInSections(t *testing.T) {
	table, buf, model := NewTable(), make([]byte, 24), seqsModel{}
	const n = 3*4096 + 1
	for i := range n {
		r := message(buf, godwit.Seq(i+1), i)
		table.Append(5, r)
		r.Meta, r.Body = bytes.Clone(r.Meta), bytes.Clone(r.Body)
		model[5] = append(model[5], r)
	}
	wantRecords(t, "since", table.Since(5, 0, n, 1<<40, nil), model[5])
	for _, records := range table.All() {
		for range 2 { // an iterator starts over
			wantRecords(t, "all", slices.Collect(records), model[5])
		}
	}
	for _, r := range table.All() {
		for range r {
			break // must not go on
		}
		break
	}
}
