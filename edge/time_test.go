package edge

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// clock is a monotonic clock that a test moves; the edge looks at it often.
type clock struct{ ms atomic.Int64 }

func (c *clock) set(cfg *Config) {
	cfg.monotonic = c.ms.Load
	cfg.Clock = func() int64 { return 1_000_000 + c.ms.Load() }
	cfg.tickEvery = time.Millisecond
}

func (c *clock) pass(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func TestServerPingsAndClosesTheSilent(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		var now clock
		e := newEdge(t, &fakeChat{}, now.set)
		c := connect(t, e, enc, "alice")
		for range 5 { // a client that answers lives on
			now.pass(31 * time.Second)
			if f := c.try(); f == nil || f.Kind != godwit.KindPing {
				t.Fatalf("%+v, want a ping", f)
			}
			c.send(&godwit.ClientFrame{Kind: godwit.KindPing})
			c.send(sendFrame(2, "in step")) // its answer says that the ping was heard
			if f := c.next(); f.ID != 2 {
				t.Fatalf("%+v", f)
			}
		}
		now.pass(31 * time.Second)
		if f := c.try(); f == nil || f.Kind != godwit.KindPing {
			t.Fatalf("%+v, want a ping", f)
		}
		now.pass(8 * time.Second) // silent for 39 s, more than 1.5 intervals
		c.wantClose(godwit.ClosePingTimeout)
	})
}

func TestPingIsNotSentEarly(t *testing.T) {
	var now clock
	chat := &fakeChat{}
	fetched := make(chan struct{}, 1)
	chat.onFetch = func(s godwit.SessionID, after godwit.Seq, _, _ int) {
		chat.edge.Fetched(s, nil, after, nil)
		fetched <- struct{}{}
	}
	e := newEdge(t, chat, now.set)
	c := connect(t, e, godwit.EncodingJSON, "alice")
	now.pass(19 * time.Second) // below 25 s - 20 %; the head compare shows that timers were served
	<-fetched
	c.send(sendFrame(2, "hi"))
	if f := c.try(); f == nil || f.ID != 2 {
		t.Fatalf("%+v before the answer", f)
	}
}

func TestTokenEndClosesTheSession(t *testing.T) {
	var now clock
	e := newEdge(t, &fakeChat{}, now.set)
	c := connect(t, e, godwit.EncodingJSON, "alice:1010000") // 10 s from the start
	if ttl := c.parsed.Connect.TTL; ttl != 10 {
		t.Fatalf("ttl %d", ttl)
	}
	now.pass(9 * time.Second)
	c.send(sendFrame(2, "hi"))
	if f := c.next(); f.ID != 2 {
		t.Fatalf("%+v", f)
	}
	now.pass(2 * time.Second)
	c.wantClose(godwit.CloseTokenExpired)
}

func TestDeadlinesOfAConnectionThatDoesNotGetOn(t *testing.T) {
	f := func(name string, chat *fakeChat, step func(t *testing.T, e *Edge, now *clock)) {
		t.Run(name, func(t *testing.T) {
			var now clock
			step(t, newEdge(t, chat, now.set), &now)
		})
	}
	f("nothing is sent", &fakeChat{}, func(t *testing.T, e *Edge, now *clock) {
		conn := dialRaw(t, e)
		accepted(t, e, 1)
		now.pass(6 * time.Second)
		if b, err := io.ReadAll(conn); len(b) != 0 || err != nil {
			t.Fatalf("%q %v, want a silent end", b, err)
		}
	})
	f("half a head", &fakeChat{}, func(t *testing.T, e *Edge, now *clock) {
		conn := dialRaw(t, e)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost:")
		connect(t, e, godwit.EncodingJSON, "later") // its answer says that the loop has seen the bytes before it
		now.pass(6 * time.Second)
		if b, err := io.ReadAll(conn); !strings.HasPrefix(string(b), "HTTP/1.1 408 ") || err != nil {
			t.Fatalf("%q %v", b, err)
		}
	})
	f("no first frame", &fakeChat{}, func(t *testing.T, e *Edge, now *clock) {
		c := dial(t, e, godwit.EncodingJSON)
		now.pass(6 * time.Second)
		c.wantClose(godwit.CloseNoToken)
	})
	f("a token at the upgrade needs no first frame", &fakeChat{}, func(t *testing.T, e *Edge, now *clock) {
		c := dial(t, e, godwit.EncodingJSON, "Authorization: Bearer user:alice\r\n")
		now.pass(6 * time.Second)
		if f := c.next(); f.Kind != godwit.KindConnect || f.Connect.User != "alice" {
			t.Fatalf("%+v", f)
		}
	})
	asked := make(chan struct{}, 1)
	silent := &fakeChat{onConnect: func(godwit.SessionID, Hello) { asked <- struct{}{} }}
	f("chat does not answer", silent, func(t *testing.T, e *Edge, now *clock) {
		c := dial(t, e, godwit.EncodingJSON)
		c.text(`{"id":1,"connect":{"token":"user:alice"}}`)
		<-asked
		now.pass(11 * time.Second)
		c.wantClose(godwit.CloseInternal)
	})
	replaced := &fakeChat{disconnect: make(chan godwit.SessionID, 1)}
	f("a close is not answered", replaced, func(t *testing.T, e *Edge, now *clock) {
		c := connect(t, e, godwit.EncodingJSON, "alice")
		e.Close(onlySession(t, replaced), godwit.CloseReplaced, "replaced")
		if f := c.try(); f != nil || c.code != 4003 {
			t.Fatalf("%+v, code %d", f, c.code)
		}
		now.pass(6 * time.Second)
		if ev, ok := c.event(); ok {
			t.Fatalf("%+v after the close frame", ev)
		}
	})
}

// TestHeadsAreCompared: a session whose hints were all lost still gets the
// entries, within 15 s; a failed fetch is repeated then, not before.
func TestHeadsAreCompared(t *testing.T) {
	var now clock
	chat := &fakeChat{}
	type fetch struct {
		s     godwit.SessionID
		after godwit.Seq
	}
	fetches := make(chan fetch, 1)
	chat.onFetch = func(s godwit.SessionID, after godwit.Seq, _, _ int) { fetches <- fetch{s, after} }
	e := newEdge(t, chat, now.set)
	c := connect(t, e, godwit.EncodingProto, "alice")
	now.pass(16 * time.Second)
	f := <-fetches
	e.Fetched(f.s, nil, 0, godwit.ErrUnavailable)
	now.pass(16 * time.Second)
	f = <-fetches
	e.Fetched(f.s, []godwit.Entry{entryOf(1, "lost"), {Seq: 2, SkipTo: 4}, entryOf(5, "lost too")}, 5, nil)
	if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != 1 {
		t.Fatalf("%+v", f)
	}
	if f := c.next(); f.Kind != godwit.KindSkip || f.Skip.To != 4 {
		t.Fatalf("%+v", f)
	}
	if f := c.next(); f.Kind != godwit.KindEvent || f.Event.Seq != 5 {
		t.Fatalf("%+v", f)
	}
}

func TestSendRateIsLimited(t *testing.T) {
	var now clock
	e := newEdge(t, &fakeChat{}, func(c *Config) {
		now.set(c)
		c.Limits.SendPerS = 3
	})
	c := connect(t, e, godwit.EncodingJSON, "alice")
	id := uint64(1)
	try := func() *godwit.ServerFrame {
		id++
		c.send(sendFrame(id, "hi"))
		return c.next()
	}
	for range burstSeconds * 3 {
		if f := try(); f.Kind != godwit.KindSend {
			t.Fatalf("%+v", f)
		}
	}
	f := try()
	if f.Kind != godwit.KindError || f.Error.Code != godwit.ErrRateLimited.Code || f.Error.RetryAfterMS == 0 || f.Error.RetryAfterMS > 500 {
		t.Fatalf("%+v", f)
	}
	now.pass(time.Duration(f.Error.RetryAfterMS+tickMS) * time.Millisecond)
	want := e.cfg.monotonic() / tickMS
	waitFor(t, func() bool { return int64(e.tick.Load()) >= want })
	if f := try(); f.Kind != godwit.KindSend {
		t.Fatalf("%+v after the wait it was told", f)
	}
}
