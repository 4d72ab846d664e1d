package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/godwit-im/godwit"
)

// ledger is the Machine of the crash and metamorphic tests. A command is a kind
// byte, a log u64, a conversation u32, a number u64 and a body:
//
//	a  append the body to the conversation
//	e  erase the log up to the number
//	c  erase the conversation up to the number; at its end its row goes, too
//	x  expire what is older than the number, in the whole group
//
// Rows: per log its commands and its head, per conversation its newest
// sequence, per group the time before which all is expired.
type ledger struct {
	pending [][]ledgerDone
}

type ledgerDone struct {
	waiter *ledgerWaiter
	answer ledgerAnswer
}

// ledgerWaiter gets one answer.
type ledgerWaiter struct{ done chan ledgerAnswer }

type ledgerAnswer struct {
	seq   godwit.Seq
	stamp int64
	err   error
}

func newLedger(groups int) *ledger { return &ledger{pending: make([][]ledgerDone, groups)} }

func newLedgerWaiter() *ledgerWaiter { return &ledgerWaiter{make(chan ledgerAnswer, 2)} }

func (w *ledgerWaiter) Fail(err error) { w.done <- ledgerAnswer{err: err} }

const ledgerHead = 1 + 8 + 4 + 8

func ledgerCommand(kind byte, log LogID, conv uint32, number uint64, body string) []byte {
	c := binary.BigEndian.AppendUint64([]byte{kind}, uint64(log))
	c = binary.BigEndian.AppendUint32(c, conv)
	c = binary.BigEndian.AppendUint64(c, number)
	return append(c, body...)
}

func ledgerLogKey(log LogID) []byte { return binary.BigEndian.AppendUint64([]byte{'L'}, uint64(log)) }

func ledgerConvKey(log LogID, conv uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64([]byte{'C'}, uint64(log)), conv)
}

var ledgerExpiredKey = []byte{'X'}

// Reads names the rows of a command.
func (m *ledger) Reads(command []byte, add func([]byte)) {
	log, conv := LogID(binary.BigEndian.Uint64(command[1:])), binary.BigEndian.Uint32(command[9:])
	if command[0] == 'x' {
		add(ledgerExpiredKey)
		return
	}
	add(ledgerLogKey(log))
	add(ledgerConvKey(log, conv))
}

func ledgerNumber(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// Apply runs one command.
func (m *ledger) Apply(tx *Tx, command []byte, w Waiter) {
	log, conv := LogID(binary.BigEndian.Uint64(command[1:])), binary.BigEndian.Uint32(command[9:])
	number := binary.BigEndian.Uint64(command[13:])
	done := ledgerDone{answer: ledgerAnswer{stamp: tx.Stamp()}}
	if command[0] == 'x' {
		if old, _ := tx.Get(ledgerExpiredKey); number > ledgerNumber(old) {
			tx.Put(ledgerExpiredKey, binary.BigEndian.AppendUint64(nil, number))
		}
		tx.ExpireBefore(int64(number))
	} else {
		done.answer.seq = m.applyToLog(tx, command[0], log, conv, godwit.Seq(number), command[ledgerHead:])
	}
	if done.waiter, _ = w.(*ledgerWaiter); done.waiter != nil {
		m.pending[tx.Group()] = append(m.pending[tx.Group()], done)
	}
}

func (m *ledger) applyToLog(tx *Tx, kind byte, log LogID, conv uint32, upTo godwit.Seq, body []byte) godwit.Seq {
	row, _ := tx.Get(ledgerLogKey(log))
	commands := ledgerNumber(row) + 1
	key := ledgerConvKey(log, conv)
	convRow, known := tx.Get(key)
	newest := godwit.Seq(ledgerNumber(convRow))
	switch kind {
	case 'a':
		seq := tx.Append(log, Entry{Prev: newest, Conv: conv, Time: tx.Stamp(), Meta: binary.AppendUvarint(nil, commands), Body: body})
		tx.Put(key, binary.BigEndian.AppendUint64(nil, uint64(seq)))
	case 'e':
		tx.Erase(log, upTo)
	case 'c':
		tx.EraseConversation(log, conv, upTo)
		if known && upTo >= newest {
			tx.Delete(key)
		}
	}
	value := binary.BigEndian.AppendUint64(nil, commands)
	tx.Put(ledgerLogKey(log), binary.BigEndian.AppendUint64(value, uint64(tx.Head(log))))
	return tx.Head(log)
}

// Flush answers the waiters.
func (m *ledger) Flush(group int, _ bool) {
	for _, d := range m.pending[group] {
		d.waiter.done <- d.answer
	}
	m.pending[group] = m.pending[group][:0]
}

// ledgerOp is a command to one log as the model knows it.
type ledgerOp struct {
	kind byte
	conv uint32
	upTo godwit.Seq
	body string
	time int64  // of an append, 0 while it is not known
	meta []byte // of an append, for the oracles of the metamorphic test
}

func (o ledgerOp) command(log LogID) []byte {
	return ledgerCommand(o.kind, log, o.conv, uint64(o.upTo), o.body)
}

// ledgerLog is what one log should be: a plain list of commands.
type ledgerLog struct {
	id  LogID
	ops []ledgerOp
}

// modelEntry is an entry and whether the log's own commands erased it.
type modelEntry struct {
	Entry
	erased bool
}

// state runs the first n commands.
func (l *ledgerLog) state(n int) (entries []modelEntry, newest map[uint32]godwit.Seq) {
	newest = map[uint32]godwit.Seq{}
	for i, op := range l.ops[:n] {
		switch op.kind {
		case 'a':
			seq := godwit.Seq(len(entries) + 1)
			entries = append(entries, modelEntry{Entry: Entry{
				Seq: seq, Prev: newest[op.conv], Conv: op.conv, Time: op.time,
				Meta: binary.AppendUvarint(nil, uint64(i+1)), Body: []byte(op.body),
			}})
			newest[op.conv] = seq
		default:
			for j := range entries {
				if entries[j].Seq <= op.upTo && (op.kind == 'e' || entries[j].Conv == op.conv) {
					entries[j].erased = true
				}
			}
			if op.kind == 'c' && op.upTo >= newest[op.conv] {
				delete(newest, op.conv)
			}
		}
	}
	return entries, newest
}

// violation is a broken promise; kind is lost, phantom or wrong.
type violation struct {
	kind string
	err  error
}

func (v violation) Error() string { return v.kind + ": " + v.err.Error() }
func (v violation) Unwrap() error { return v.err }

func lost(format string, args ...any) error { return violation{"lost", fmt.Errorf(format, args...)} }

func phantom(format string, args ...any) error {
	return violation{"phantom", fmt.Errorf(format, args...)}
}

func wrong(format string, args ...any) error { return violation{"wrong", fmt.Errorf(format, args...)} }

// ledgerCommands returns how many commands of the log were applied.
func ledgerCommands(v *View, log LogID) int {
	row, _ := v.Get(ledgerLogKey(log))
	return int(ledgerNumber(row))
}

// checkLedgerLog compares one log with the model after n commands: rows, every
// entry in every way to read it. expired is the group's time. What it learns of
// times it writes to the model.
//
//tidy:long one list of what must agree
func checkLedgerLog(s *Store, l *ledgerLog, n int, expired int64, pageSize int) (err error) {
	v := s.View(s.Group(l.id.Partition()))
	defer v.Close()
	defer func() {
		if v.Err() != nil {
			err = lost("log %x: %v", l.id, v.Err())
		}
	}()
	model, newest := l.state(n)
	row, _ := v.Get(ledgerLogKey(l.id))
	if rowHead := ledgerNumber(row[min(8, len(row)):]); rowHead != uint64(len(model)) || v.Head(l.id) != godwit.Seq(len(model)) {
		return wrong("log %x: head %d, its row says %d, %d were appended", l.id, v.Head(l.id), rowHead, len(model))
	}
	if err := checkConvRows(v, l.id, newest); err != nil {
		return err
	}
	got := v.Since(l.id, 0, 1<<30, 1<<40, nil)
	if got, err = checkEntries(l, model, got, expired); err != nil {
		return err
	}
	var paged []Entry
	for after := godwit.Seq(0); ; after = paged[len(paged)-1].Seq {
		page := v.Since(l.id, after, pageSize, 1<<40, nil)
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
	}
	if !sameEntries(paged, got) {
		return wrong("log %x: %d entries in pages, %d at once", l.id, len(paged), len(got))
	}
	i := 0
	for seq := godwit.Seq(len(model)); seq > 0; seq-- { // downwards: the way pages go
		i = len(got) - 1
		for i >= 0 && got[i].Seq > seq {
			i--
		}
		e, ok := v.Entry(l.id, seq)
		if want := i >= 0 && got[i].Seq == seq; ok != want || ok && !sameEntries([]Entry{e}, got[i:i+1]) {
			return wrong("log %x: entry %d alone: %v %+v", l.id, seq, ok, e)
		}
	}
	for conv := uint32(1); conv <= ledgerConvs; conv++ {
		if err := checkConversation(v, l.id, conv, newest[conv], got, pageSize); err != nil {
			return err
		}
	}
	return nil
}

// ledgerConvs is how many conversations a log has.
const ledgerConvs = 3

func checkConvRows(v *View, log LogID, newest map[uint32]godwit.Seq) (err error) {
	rows := 0
	prefix := ledgerConvKey(log, 0)[:9]
	v.Scan(prefix, func(key, value []byte) bool {
		rows++
		conv := binary.BigEndian.Uint32(key[9:])
		if want, ok := newest[conv]; !ok || uint64(want) != ledgerNumber(value) {
			err = wrong("log %x: the row of conversation %d says %d, want %d", log, conv, ledgerNumber(value), want)
		}
		return true
	})
	if err == nil && rows != len(newest) {
		err = wrong("log %x: %d rows of conversations, want %d", log, rows, len(newest))
	}
	return err
}

// checkEntries merges what was read with the model.
func checkEntries(l *ledgerLog, model []modelEntry, got []Entry, expired int64) ([]Entry, error) {
	read := slices.Clone(got)
	var before int64
	for i := range model {
		m := &model[i]
		if len(got) == 0 || got[0].Seq > m.Seq {
			// An unanswered append may have had a time that is expired now.
			if !m.erased && (m.Time == 0 && expired == 0 || m.Time != 0 && m.Time >= expired) {
				return nil, lost("log %x: entry %d of %d is missing (time %d, expired before %d)", l.id, m.Seq, len(model), m.Time, expired)
			}
			continue
		}
		e := got[0]
		got = got[1:]
		if e.Seq != m.Seq {
			return nil, phantom("log %x: sequence %d where %d belongs", l.id, e.Seq, m.Seq)
		}
		if m.erased || e.Time < expired {
			return nil, phantom("log %x: entry %d is back, it was erased", l.id, e.Seq)
		}
		if m.Time == 0 {
			m.Time = e.Time
			l.learn(m)
		}
		if !bytes.Equal(e.Body, m.Body) {
			kind := phantom
			if bytes.HasPrefix(m.Body, e.Body) {
				kind = lost
			}
			return nil, kind("log %x: entry %d is %.40q, want %.40q", l.id, e.Seq, e.Body, m.Body)
		}
		if !sameEntries([]Entry{e}, []Entry{m.Entry}) || e.Time < before {
			return nil, wrong("log %x: entry %+v, want %+v after time %d", l.id, e, m.Entry, before)
		}
		before = e.Time
	}
	if len(got) > 0 {
		return nil, phantom("log %x: entry %d was never appended, the head is %d", l.id, got[0].Seq, len(model))
	}
	return read, nil
}

// learn notes the time of an append.
func (l *ledgerLog) learn(m *modelEntry) {
	i, _ := binary.Uvarint(m.Meta)
	l.ops[i-1].time = m.Time
}

// checkConversation reads one conversation in pages both ways.
func checkConversation(v *View, log LogID, conv uint32, newest godwit.Seq, all []Entry, pageSize int) error {
	var want []Entry
	for _, e := range all {
		if e.Conv == conv && e.Seq <= newest {
			want = append(want, e)
		}
	}
	var got []Entry
	p := Page{Newest: newest, Limit: pageSize, BytesMax: 1 << 30}
	for more := true; more; {
		var page []Entry
		page, more = v.Conversation(log, conv, p, nil)
		if more && len(page) == 0 {
			return wrong("log %x, conversation %d: an empty page with more", log, conv)
		}
		if len(page) > 0 {
			p.Before = page[0].Seq
		}
		got = append(page, got...)
	}
	if !sameEntries(got, want) {
		return wrong("log %x, conversation %d backwards: %s, want %s", log, conv, seqsOf(got), seqsOf(want))
	}
	got = nil
	p = Page{Newest: newest, Limit: pageSize, BytesMax: 1 << 30, Forward: true}
	for more := newest > 0; more; {
		var page []Entry
		page, more = v.Conversation(log, conv, p, nil)
		if more && len(page) == 0 {
			return wrong("log %x, conversation %d: an empty page with more", log, conv)
		}
		if len(page) > 0 {
			p.After = page[len(page)-1].Seq
		}
		got = append(got, page...)
	}
	if !sameEntries(got, want) {
		return wrong("log %x, conversation %d forwards: %s, want %s", log, conv, seqsOf(got), seqsOf(want))
	}
	return nil
}

func seqsOf(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d ", e.Seq)
	}
	return b.String()
}
