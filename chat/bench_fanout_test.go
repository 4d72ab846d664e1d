package chat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// fanTx is the cheapest store: rows that are overwritten in place, logs that only
// count. What is measured is apply alone.
type fanTx struct {
	*benchTx
	rows  map[string]*[]byte
	bytes int // of records
}

func (t *fanTx) Delete(key []byte) { delete(t.rows, string(key)) }

func (t *fanTx) Get(key []byte) ([]byte, bool) {
	if v := t.rows[string(key)]; v != nil {
		return *v, true
	}
	return nil, false
}

func (t *fanTx) Put(key, value []byte) {
	v := t.rows[string(key)]
	if v == nil {
		v = new([]byte)
		t.rows[string(key)] = v
	}
	*v = append((*v)[:0], value...)
}

func (t *fanTx) Append(log godwit.LogID, r godwit.Record) godwit.Seq {
	t.bytes += len(r.Meta) + len(r.Body)
	return t.benchTx.Append(log, r)
}

// benchFanout measures the way of one message to all members of a group: the
// commands are built, parsed, applied and flushed. ns and bytes are per pointer;
// command bytes are what raft carries, record bytes what a member's log holds
// beside the engine's own.
func benchFanout(b *testing.B, members int) {
	const entries = 1
	st := testSettings(1)
	levelTwo(1 << 20)(&st)
	m := NewMachine(1)
	tx := &fanTx{benchTx: &benchTx{heads: map[godwit.LogID]godwit.Seq{}, stamp: 1_700_000_000_000}, rows: map[string]*[]byte{}}
	genesis := genesisCommand{settings: st}
	m.Apply(tx, genesis.append(nil, 0), nil)
	w := &fanWorker{fanouts: &fanouts{to: make([]fanDestination, 1), epochs: []uint64{testEpoch}}}
	g := &fanGroup{id: "gfriends", conv: []byte("g:gfriends")}
	g.log = godwit.NewLogID(godwit.GroupID(g.id).Partition(), 1)
	list := make([]fanoutMember, 0, members)
	for i := range members {
		list = append(list, fanoutMember{user: fmt.Appendf(nil, "user%06d", i), since: 1})
	}
	slices.SortFunc(list, compareFanoutMembers)
	commands, commandBytes := 0, 0
	round := func(seq godwit.Seq) {
		e := fanEntry{fanoutEntry: fanoutEntry{seq: seq, flags: fanCounts, time: tx.stamp, sender: list[0].user}}
		r := &fanRound{first: seq, last: seq + entries - 1, members: list, head: w.appendHead(g, []fanEntry{e}, 0, false)}
		for next, count := 0, 0; next < len(r.members); {
			if next, count = w.build(r, next); count > 0 {
				m.Apply(tx, w.command, nil)
				m.Flush(0, false)
				commands++
				commandBytes += len(w.command)
			}
		}
	}
	seq := godwit.Seq(1)
	for ; seq <= 3; seq++ {
		round(seq)
	}
	commands, commandBytes, tx.bytes = 0, 0, 0
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		round(seq)
		seq++
		n++
	}
	pointers := float64(n * members * entries)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/pointers, "ns/pointer")
	b.ReportMetric(float64(commandBytes)/pointers, "command-B/pointer")
	b.ReportMetric(float64(tx.bytes)/pointers, "record-B/pointer")
	b.ReportMetric(float64(commands)/float64(n), "commands/message")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkFanout10(b *testing.B)    { benchFanout(b, 10) }
func BenchmarkFanout100(b *testing.B)   { benchFanout(b, 100) }
func BenchmarkFanout1000(b *testing.B)  { benchFanout(b, 1000) }
func BenchmarkFanout10000(b *testing.B) { benchFanout(b, 10000) }
