package edge

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// TestSlowReaderIsClosedAndOthersAreNot: a client that asks and does not read
// is told 4202 once it reads; a session beside it sees every event meanwhile.
func TestSlowReaderIsClosedAndOthersAreNot(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		chat := &fakeChat{disconnect: make(chan godwit.SessionID, 1)}
		body := strings.Repeat("b", 15000)
		chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
			entries := make([]godwit.Entry, 50)
			for i := range entries {
				entries[i] = entryOf(godwit.Seq(i+1), body)
			}
			chat.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindHistory, History: godwit.HistoryReply{Entries: entries}})
		}
		e := newEdge(t, chat, func(c *Config) { c.OutboundBytesMax = 256 << 10 })
		good := connect(t, e, enc, "good")
		goodID := onlySession(t, chat)
		slow := connect(t, e, enc, "slow")
		var asking sync.WaitGroup
		asking.Go(func() { // 40 × 750 KB is more than the sockets and the bound hold
			for id := range uint64(40) {
				f := &godwit.ClientFrame{ID: id + 2, Kind: godwit.KindHistory, History: godwit.History{Conv: []byte("u:bob")}}
				slow.send(f)
			}
		})
		for seq, gone := godwit.Seq(1), false; !gone; seq++ {
			entry := entryOf(seq, "live")
			e.Deliver([]godwit.SessionID{goodID}, &entry)
			if f := good.next(); f.Kind != godwit.KindEvent || f.Event.Seq != seq {
				t.Fatalf("the good session got %+v, want event %d", f, seq)
			}
			good.send(&godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: seq}})
			select {
			case s := <-chat.disconnect:
				gone = true
				if s == goodID {
					t.Fatal("the good session was closed")
				}
			default:
			}
		}
		asking.Wait()
		slow.wantClose(godwit.CloseSlowConsumer)
		if n := e.Stats().Closes[godwit.CloseSlowConsumer]; n != 1 {
			t.Fatalf("%d closes counted", n)
		}
		good.send(&godwit.ClientFrame{ID: 9, Kind: godwit.KindHistory})
		if f := good.next(); f.ID != 9 {
			t.Fatalf("%+v", f)
		}
	})
}

// TestSlowReaderThatNeverReadsIsDropped holds its memory no longer than the
// deadline of the close.
func TestSlowReaderThatNeverReadsIsDropped(t *testing.T) {
	var now clock
	chat := &fakeChat{disconnect: make(chan godwit.SessionID, 1)}
	body := strings.Repeat("b", 1<<20)
	e := newEdge(t, chat, func(c *Config) {
		now.set(c)
		c.OutboundBytesMax = 64 << 10
	})
	connect(t, e, godwit.EncodingJSON, "slow")
	s := onlySession(t, chat)
	for seq := godwit.Seq(1); ; seq++ {
		e.Reply(s, &godwit.ServerFrame{ID: 1, Kind: godwit.KindError, Error: godwit.ErrorReply{Message: body}})
		select {
		case <-chat.disconnect:
			now.pass(6 * time.Second)
			waitFor(t, func() bool { return e.Stats().Connections == 0 })
			return
		default:
		}
	}
}

// TestUnackedEventsPauseAtTheWindow: nothing beyond the window is written to a
// client that reads and does not ack, and nothing is lost when it does.
func TestUnackedEventsPauseAtTheWindow(t *testing.T) {
	chat := &fakeChat{}
	const head = godwit.Seq(40)
	chat.onFetch = func(s godwit.SessionID, after godwit.Seq, limit, _ int) {
		var entries []godwit.Entry
		for seq := after + 1; seq <= head && len(entries) < limit; seq++ {
			entries = append(entries, entryOf(seq, "x"))
		}
		chat.edge.Fetched(s, entries, head, nil)
	}
	e := newEdge(t, chat, func(c *Config) { c.Limits.Window = 10 })
	c := connect(t, e, godwit.EncodingJSON, "alice")
	s := onlySession(t, chat)
	for seq := godwit.Seq(1); seq <= head; seq++ {
		entry := entryOf(seq, "x")
		e.Deliver([]godwit.SessionID{s}, &entry)
	}
	c.send(sendFrame(50, "after the hints"))
	for seq := godwit.Seq(1); seq <= 10; seq++ {
		if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != seq {
			t.Fatalf("%+v, want event %d", f, seq)
		}
	}
	if f := c.next(); f.ID != 50 {
		t.Fatalf("%+v, want the reply: the window is full", f)
	}
	for seq := godwit.Seq(11); seq <= head; seq++ {
		if seq%10 == 1 {
			c.send(&godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: seq - 1}})
		}
		if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != seq {
			t.Fatalf("%+v, want event %d", f, seq)
		}
	}
}

func TestDrainAsksThenWaitsThenCloses(t *testing.T) {
	chat := &fakeChat{}
	e := newEdge(t, chat, func(c *Config) { c.Loops = 2 })
	polite, stubborn := connect(t, e, godwit.EncodingJSON, "polite"), connect(t, e, godwit.EncodingProto, "stubborn")
	ctx, cancel := context.WithCancel(context.Background())
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		e.Drain(ctx, 8*time.Second, time.Minute)
	}()
	for _, c := range []*client{polite, stubborn} {
		if f := c.next(); f.Kind != godwit.KindGoaway || f.Goaway != (godwit.Goaway{Reason: "drain", AfterMS: 8000, SpreadMS: 60000}) {
			t.Fatalf("%+v, want goaway", f)
		}
	}
	polite.message(8, []byte{0x03, 0xE8})
	polite.wantClose(1000)
	newcomer := dialRaw(t, e)
	_, _ = newcomer.Write([]byte(upgradeHead + "\r\n"))
	answer := make([]byte, 4096)
	if n, err := newcomer.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 503 ") || !strings.Contains(string(answer[:n]), "Retry-After: ") {
		t.Fatalf("%q %v", answer[:n], err)
	}
	_ = newcomer.Close()
	stubborn.send(sendFrame(5, "still served"))
	if f := stubborn.next(); f.ID != 5 {
		t.Fatalf("%+v", f)
	}
	cancel()
	stubborn.wantClose(godwit.CloseDrain)
	<-drained
}

func TestDrainReturnsWhenAllAreGone(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		e.Drain(context.Background(), 0, 0)
	}()
	if f := c.next(); f.Kind != godwit.KindGoaway {
		t.Fatalf("%+v", f)
	}
	_ = c.conn.Close()
	<-drained
}

func TestStopClosesEverySession(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	stopped := make(chan error)
	go func() { stopped <- e.Stop(context.Background()) }()
	c.wantClose(godwit.CloseDrain)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	<-e.Done()
	e.Reply(1, &godwit.ServerFrame{ID: 1})
	if err := e.Start(); err == nil {
		t.Fatal("a stopped edge started")
	}
}

func TestStartRefusesATakenPort(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	other, err := New(Config{Listen: e.Addr(), Chat: &fakeChat{}, Verifier: fakeVerifier{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err == nil {
		t.Fatal("two edges share a port")
	}
	if err := other.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}
