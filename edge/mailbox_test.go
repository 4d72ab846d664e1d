package edge

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
)

// take empties a mailbox as a loop does.
func (m *mailbox) take() (seqs []godwit.Seq) {
	for m.refill() {
		for it := m.next(); it != nil; it = m.next() {
			seqs = append(seqs, it.seq)
		}
	}
	return seqs
}

func TestMailboxKeepsOrderAndWakesOnce(t *testing.T) {
	var m mailbox
	wakes := 0
	m.put(item{seq: 1}, nil)
	m.start(func() { wakes++ })
	m.put(item{seq: 2}, []byte("b"))
	m.put(item{seq: 3}, nil)
	if wakes != 1 {
		t.Fatalf("%d wake-ups for a sleeping loop, want 1", wakes)
	}
	if got := m.take(); len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Fatalf("took %v", got)
	}
	if m.settle(false) {
		t.Fatal("an empty mailbox asks to be run again")
	}
	m.put(item{seq: 4}, nil)
	if wakes != 2 {
		t.Fatalf("%d wake-ups after settling, want 2", wakes)
	}
}

func TestMailboxIsNotWokenWhileHeld(t *testing.T) {
	var m mailbox
	wakes := 0
	m.start(func() { wakes++ })
	awake := m.hold()
	m.put(item{seq: 1}, nil)
	if wakes != 0 || awake {
		t.Fatal("a running loop was woken")
	}
	if !m.settle(awake) {
		t.Fatal("what came while held would be forgotten")
	}
	m.rewake()
	if awake = m.hold(); wakes != 1 || !awake {
		t.Fatal("the second look was not asked for")
	}
	if m.settle(awake) || len(m.take()) != 1 {
		t.Fatal("a wake-up under way was asked for twice")
	}
}

func TestMailboxDropsEverythingAfterClose(t *testing.T) {
	var m mailbox
	m.start(func() { t.Error("woken after close") })
	m.close()
	m.put(item{seq: 1}, []byte("x"))
	m.note(item{}, 1)
	m.nudge()
	m.rewake()
	if m.refill() {
		t.Fatal("a closed mailbox took an item")
	}
}

func TestMailboxTakesFromManyGoroutines(t *testing.T) {
	const producers, each = 4, 2000
	var m mailbox
	wake := make(chan struct{}, 1)
	m.start(func() { wake <- struct{}{} }) // blocks forever if woken twice without a look
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				m.put(item{session: godwit.SessionID(p), seq: godwit.Seq(i + 1)}, []byte{byte(p), byte(i)})
			}
		})
	}
	var last [producers]godwit.Seq
	for got := 0; got < producers*each; {
		<-wake
		for m.refill() {
			for it := m.next(); it != nil; it = m.next() {
				got++
				if it.seq != last[it.session]+1 || !bytes.Equal(m.cur.bytes(it), []byte{byte(it.session), byte(it.seq - 1)}) {
					t.Fatalf("item %d of %d after %d with %x", it.seq, it.session, last[it.session], m.cur.bytes(it))
				}
				last[it.session] = it.seq
			}
		}
		if m.settle(false) {
			go m.rewake()
		}
	}
	wg.Wait()
}

// idle returns an edge that was not started: its mailboxes only fill.
func idle(t testing.TB) *Edge {
	e, err := New(Config{Listen: "127.0.0.1:0", Loops: 2, Chat: &fakeChat{}, Verifier: fakeVerifier{}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestDeliverDropsHintsOverTheBound(t *testing.T) {
	e := idle(t)
	s := []godwit.SessionID{makeID(formOf(godwit.EncodingJSON), 1, 5, 1)}
	entry := entryOf(1, strings.Repeat("x", 3<<20))
	for range 12 {
		e.Deliver(s, &entry)
	}
	items, size := e.loops[1].box.queued()
	if items != 12 || size > hintBytesMax || size < 1<<20 {
		t.Fatalf("%d items, %d bytes", items, size)
	}
	lost := e.Stats().HintsLost
	if lost == 0 {
		t.Fatal("no hint was robbed of its frame")
	}
	e.loops[1].box.take()
	small := entryOf(1, "x")
	e.Deliver(slices.Repeat(s, hintsMax+10), &small)
	if items, _ = e.loops[1].box.queued(); items != hintsMax {
		t.Fatalf("%d hints wait, want %d", items, hintsMax)
	}
	if got := e.Stats().HintsLost - lost; got < 10 {
		t.Fatalf("%d hints counted as lost", got)
	}
	e.Fetched(s[0], nil, 9, nil)
	if items, _ = e.loops[1].box.queued(); items != hintsMax+1 {
		t.Fatal("what is owed was dropped at the bound of hints")
	}
}

func TestOwedItemsOverTheBoundFailLoudly(t *testing.T) {
	e := idle(t)
	s := makeID(formOf(godwit.EncodingJSON), 0, 5, 1)
	box := &e.loops[0].box
	box.in.arena = make([]byte, owedBytesMax)
	e.Reply(s, &godwit.ServerFrame{ID: 1, Kind: godwit.KindSend})
	e.Fetched(s, []godwit.Entry{entryOf(1, "x")}, 1, nil)
	if box.in.items[0].kind != itemClose || godwit.CloseCode(box.in.items[0].extra) != godwit.CloseOverloaded {
		t.Fatalf("a reply that does not fit became %+v", box.in.items[0])
	}
	if it := box.in.items[1]; it.kind != itemFetched || it.to == 0 || it.extra != 0 {
		t.Fatalf("an answer that does not fit became %+v", it)
	}
	if e.Stats().RepliesLost != 1 {
		t.Fatal("the lost reply was not counted")
	}
}

// TestDeliverEncodesOncePerEncoding: all sessions of a loop and encoding share
// the bytes.
func TestDeliverEncodesOncePerEncoding(t *testing.T) {
	e := idle(t)
	var ids []godwit.SessionID
	for slot := range uint32(10) {
		ids = append(ids, makeID(formOf(godwit.EncodingJSON), int(slot)%2, slot, 1), makeID(formOf(godwit.EncodingProto), 0, 100+slot, 1))
	}
	entry := entryOf(3, "hello")
	e.Deliver(ids, &entry)
	var c codec
	jsonBytes := len(c.appendEvent(nil, formOf(godwit.EncodingJSON), &entry))
	protoBytes := len(c.appendEvent(nil, formOf(godwit.EncodingProto), &entry))
	if items, size := e.loops[0].box.queued(); items != 15 || size != jsonBytes+protoBytes {
		t.Fatalf("loop 0: %d items, %d bytes, want 15 and %d", items, size, jsonBytes+protoBytes)
	}
	if items, size := e.loops[1].box.queued(); items != 5 || size != jsonBytes {
		t.Fatalf("loop 1: %d items, %d bytes, want 5 and %d", items, size, jsonBytes)
	}
	e.loops[0].box.refill()
	for it := e.loops[0].box.next(); it != nil; it = e.loops[0].box.next() {
		want := c.appendEvent(nil, idForm(it.session), &entry)
		if got := e.loops[0].box.cur.bytes(it); !bytes.Equal(got, want) {
			t.Fatalf("session %x gets %q, want %q", it.session, got, want)
		}
	}
}

func TestDeliverDoesNotAllocate(t *testing.T) {
	skipUnderRace(t)
	e := idle(t)
	ids := []godwit.SessionID{makeID(formOf(godwit.EncodingJSON), 0, 1, 1), makeID(formOf(godwit.EncodingProto), 1, 2, 1)}
	entry := entryOf(3, "a message of the usual length, which is about a hundred bytes or so")
	drain := func() {
		for _, l := range e.loops {
			for l.box.refill() {
				for l.box.next() != nil {
				}
			}
		}
	}
	reply := &godwit.ServerFrame{ID: 9, Kind: godwit.KindSend, Send: godwit.SendReply{State: "stored", Conv: "u:bob"}}
	for range 64 {
		e.Deliver(ids, &entry)
		e.Reply(ids[0], reply)
	}
	drain()
	if n := testing.AllocsPerRun(100, func() {
		for range 16 {
			e.Deliver(ids, &entry)
			e.Reply(ids[0], reply)
		}
		drain()
	}); n >= 1 { // sync.Pool may lose its codec to a collection
		t.Fatalf("%v allocations for 16 deliveries and replies", n)
	}
}

// TestMailboxKeepsItsRoomWhileAFloodLasts: filling it again allocates nothing;
// a little traffic after it gives the room back.
func TestMailboxKeepsItsRoomWhileAFloodLasts(t *testing.T) {
	skipUnderRace(t)
	var m mailbox
	frame := make([]byte, 200)
	fill := func(items int) {
		for i := range items {
			m.put(item{kind: itemHint, session: godwit.SessionID(i + 1)}, frame)
		}
		for m.refill() {
			for m.next() != nil {
			}
		}
	}
	flood := func() { fill(hintsMax / 2) }
	flood()
	flood()
	if n := testing.AllocsPerRun(2, flood); n > 1 { // regroup's counters
		t.Errorf("%v allocations in a flood that goes on", n)
	}
	if kept := cap(m.cur.arena) + cap(m.in.arena); kept < hintsMax/2*len(frame) {
		t.Errorf("%d bytes are kept in a flood", kept)
	}
	for range 3 {
		fill(1)
	}
	items, kept := cap(m.cur.items)+cap(m.in.items)+cap(m.spare), cap(m.cur.arena)+cap(m.in.arena)
	if items > 2*itemsKeep || kept > 2*arenaKeepBytes {
		t.Errorf("%d items and %d bytes are kept after the flood", items, kept)
	}
}
