package load

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/godwit-im/godwit"
)

// historyPage is how many entries an opHistory asks for.
const historyPage = 50

// begin gives a session something to do. It waits while the session is not
// connected or has as much in flight as the server allows; its latency runs.
func (l *loop) begin(i uint32, kind operationKind, due time.Duration) {
	s := &l.sessions[i]
	o := operation{kind: kind, due: due}
	if kind == opSend {
		o.number = l.check.offered(l.first + i)
	}
	l.busy++
	s.queue = append(s.queue, o)
	l.submit(i)
}

// submit sends what the session may have in flight.
func (l *loop) submit(i uint32) {
	s := &l.sessions[i]
	if s.state < stateReplaying {
		return
	}
	n := 0
	for n < len(s.queue) && len(s.flight) < int(s.inFlight) {
		o := s.queue[n]
		n++
		s.nextID++
		o.id = s.nextID
		l.ask(i, &o)
		s.flight = append(s.flight, o)
	}
	if s.queue = s.queue[:copy(s.queue, s.queue[n:])]; len(s.queue) == 0 && cap(s.queue) > 16 {
		s.queue = nil
	}
}

// ask writes the request of an operation.
func (l *loop) ask(i uint32, o *operation) {
	user := l.first + i
	f := godwit.ClientFrame{ID: o.id}
	l.name[0] = append(l.name[0][:0], "u:"...)
	l.name[0] = l.appendName(l.name[0], i^1)
	conv := l.name[0]
	switch o.kind {
	case opSend:
		f.Kind = godwit.KindSend
		f.Send.To = conv[len("u:"):]
		f.Send.CID = strconv.AppendUint(append(strconv.AppendUint(nil, uint64(user), 10), '-'), uint64(o.number), 10)
		l.text = appendPayload(l.text[:0], Header{Run: l.runID, Sender: user, Number: o.number, Due: int64(o.due)}, l.corpus.text(user, o.number))
		f.Send.Text, f.Send.HasText = l.text, true
		f.Send.Time = l.unixMS + o.due.Milliseconds()
		l.shard.Sent.Add(1)
	case opHistory:
		a := &l.check.users[i]
		span := uint64(a.next - a.start - 1)
		o.after = a.start + godwit.Seq(l.rng.Uint64N(max(span, historyPage+1)-historyPage))
		f.Kind = godwit.KindHistory
		f.History = godwit.History{Conv: conv, After: o.after, HasAfter: true, Limit: historyPage}
		l.shard.Sent.Add(1)
	case opReadBack:
		f.Kind = godwit.KindHistory
		f.History = godwit.History{Conv: conv, After: o.after, HasAfter: true}
	case opProbe:
		f.Kind = godwit.KindSync
		f.Sync = godwit.Sync{Since: l.check.users[i].next - 1, Limit: 1}
	}
	l.request(i, &f)
}

func (l *loop) ack(i uint32) {
	l.sessions[i].unacked = 0
	f := godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: l.check.users[i].next - 1}}
	l.request(i, &f)
}

// handle takes one frame of the server.
func (l *loop) handle(i uint32, f *godwit.ServerFrame) {
	switch f.Kind {
	case godwit.KindPing:
		l.request(i, &godwit.ClientFrame{Kind: godwit.KindPing})
	case godwit.KindConnect:
		l.opened(i, &f.Connect)
	case godwit.KindPoll:
		l.polled(i, f.Poll.Cursor)
	case godwit.KindResumed:
		l.resumed(i)
	case godwit.KindEvent:
		l.entry(i, &f.Event)
	case godwit.KindSkip:
		l.check.problem("user %d was told to skip %d to %d of a log that holds everything", l.first+i, f.Skip.From, f.Skip.To)
	case godwit.KindEphemeral:
		l.heard(l.now())
	case godwit.KindSend, godwit.KindHistory, godwit.KindSync:
		l.reply(i, f)
	case godwit.KindError:
		l.refused(i, f)
	}
}

// entry takes one entry of the session's log.
func (l *loop) entry(i uint32, e *godwit.Entry) {
	s := &l.sessions[i]
	if s.unacked++; s.unacked >= ackEvery && s.reading {
		defer l.ack(i)
	}
	if !s.owing {
		s.owing = true
		l.owing = append(l.owing, i)
	}
	h, ok := l.check.received(l.first+i, e)
	if !ok {
		return
	}
	if l.name[1] = l.appendName(l.name[1][:0], h.Sender-l.first); !bytes.Equal(e.Msg.From, l.name[1]) {
		l.check.problem("user %d got a message of %s in the name of %.64q", l.first+i, l.name[1], e.Msg.From)
	}
	if h.Sender == l.first+i {
		return // the sender's own copy
	}
	l.countCrossing(l.sessions[h.Sender-l.first].node, s.node)
	l.shard.Delivered.Add(1)
	due := time.Duration(h.Due)
	now := l.now()
	if l.isSlow(i) {
		l.shard.Record(latencySlow, due, now)
		return
	}
	l.shard.Record(latencyDelivered, due, now)
	if l.slow.sessions > 0 {
		l.besides(due, now)
	}
	if l.flap.flappers > 0 {
		l.inPhase(due, now)
	}
}

// reply takes the answer to an operation.
func (l *loop) reply(i uint32, f *godwit.ServerFrame) {
	s := &l.sessions[i]
	o, ok := s.take(f.ID)
	if !ok && (l.gaveUp || f.ID > askIDs) {
		return
	}
	if !ok {
		l.check.problem("user %d got an answer to request %d, which it did not ask", l.first+i, f.ID)
		return
	}
	l.busy--
	user := l.first + i
	switch {
	case o.kind == opSend && f.Kind == godwit.KindSend:
		l.check.answered(user, o.number, outcomeStored)
		l.shard.Stored.Add(1)
		l.shard.Record(latencyStored, o.due, l.now())
	case o.kind == opHistory && f.Kind == godwit.KindHistory:
		l.shard.Record(latencyHistory, o.due, l.now())
		l.page(i, &o, f.History.Entries)
	case o.kind == opReadBack && f.Kind == godwit.KindHistory:
		l.readOn(i, o.after, &f.History)
	case o.kind == opProbe && f.Kind == godwit.KindSync:
		l.probed(i, f.Sync.Head)
	default:
		l.check.problem("user %d got an answer of another kind to request %d", user, f.ID)
	}
	l.stages.row(o.due).Succeeded++
	if l.again != nil {
		l.again(i)
	}
	l.submit(i)
}

// page holds a page of history to what was delivered.
func (l *loop) page(i uint32, o *operation, entries []godwit.Entry) {
	a := &l.check.users[i]
	if want := min(historyPage, int(a.next-1-o.after)); len(entries) != want {
		l.check.found.Lost++
		l.check.problem("a page of user %d after sequence %d has %d entries instead of %d", l.first+i, o.after, len(entries), want)
	}
	l.check.readBack(l.first+i, o.after, entries)
}

// refused takes an error. Without an operation it tells of a frame that the
// server did not like, which is a fault of one of both.
func (l *loop) refused(i uint32, f *godwit.ServerFrame) {
	s := &l.sessions[i]
	if s.state == stateOpening {
		l.drop(i, fmt.Errorf("connect refused: %s", f.Error.Code))
		return
	}
	o, ok := s.take(f.ID)
	if !ok && (l.gaveUp || f.ID > askIDs) {
		return
	}
	if !ok {
		l.check.problem("user %d got the error %s without asking for anything", l.first+i, f.Error.Code)
		return
	}
	l.busy--
	row := l.stages.row(o.due)
	fate := outcomeRefused
	if f.Error.Code == godwit.ErrUnknown.Code || f.Error.Code == godwit.ErrInternal.Code {
		fate = outcomeOpen
		row.Unknown++
	} else {
		row.Refused++
	}
	if o.kind == opSend {
		l.check.answered(l.first+i, o.number, fate)
	}
	if (o.kind == opReadBack || o.kind == opProbe) && f.Error.Temporary && o.tries < scanTriesMax {
		l.scanWith(i, operation{kind: o.kind, after: o.after, tries: o.tries + 1})
	} else if o.kind == opReadBack || o.kind == opProbe {
		l.check.problem("user %d got the error %s in the verify stage", l.first+i, f.Error.Code)
		l.scanNext()
	}
	if l.again != nil {
		l.again(i)
	}
	l.submit(i)
}
