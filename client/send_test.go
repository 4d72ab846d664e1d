package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

func (f *fixture) submit(t *testing.T, cids ...string) (tickets []*Ticket) {
	t.Helper()
	ctx, cancel := withPatience()
	defer cancel()
	for _, cid := range cids {
		ticket, err := f.Submit(ctx, "bob", Message{CID: cid, Text: "text of " + cid})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	return tickets
}

func expectSends(t *testing.T, p *peer, cids ...string) (frames []*godwit.ClientFrame) {
	t.Helper()
	for _, cid := range cids {
		frame := p.expect(t, godwit.KindSend)
		if s := &frame.Send; string(s.CID) != cid || string(s.Text) != "text of "+cid || string(s.To) != "bob" || s.Time == 0 {
			t.Fatalf("got send %s %q to %s, want %s", s.CID, s.Text, s.To, cid)
		}
		frames = append(frames, frame)
	}
	return frames
}

func (f *fixture) wantStored(t *testing.T, ticket *Ticket, seq godwit.Seq) {
	t.Helper()
	ctx, cancel := withPatience()
	defer cancel()
	sent, err := ticket.Wait(ctx)
	if err != nil || sent.Seq != seq || sent.MID != (godwit.MessageID{byte(seq)}) || sent.Conv != "u:bob" || sent.CID != ticket.CID() {
		t.Fatalf("got %+v, %v; want stored at %d", sent, err, seq)
	}
}

func TestSendReturnsWhereTheMessageIsStored(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = encoding })
		tickets := f.submit(t, "c1", "c2")
		frames := expectSends(t, p, "c1", "c2")
		p.stored(frames[1], 2)
		p.stored(frames[0], 1)
		f.wantStored(t, tickets[1], 2)
		f.wantStored(t, tickets[0], 1)
	})
}

func TestSendCarriesGroupDataAndType(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = encoding })
		ctx, cancel := withPatience()
		defer cancel()
		body := []byte{0, 1, 0xff}
		ticket, err := f.Submit(ctx, "g:42", Message{Data: body, Type: "image/png"})
		if err != nil {
			t.Fatal(err)
		}
		body[0] = 9 // the client has its own copy
		s := &p.expect(t, godwit.KindSend).Send
		if string(s.Group) != "42" || len(s.To) > 0 || !s.HasData || s.HasText || string(s.Data) != "\x00\x01\xff" ||
			string(s.Type) != "image/png" || string(s.CID) != ticket.CID() || !godwit.ValidID(s.CID) {
			t.Fatalf("got %+v", s)
		}
	})
}

func TestLostConnectionResendsInOrderUnderTheSameIDs(t *testing.T) {
	f, p := live(t, 0, nil)
	tickets := f.submit(t, "c1", "c2", "c3")
	frames := expectSends(t, p, "c1", "c2", "c3")
	p.stored(frames[1], 2)
	f.wantStored(t, tickets[1], 2)
	p.drop()
	f.await(t, Waiting)
	tickets = append(tickets, f.submit(t, "c4")...)
	f.clock.turn(f.cfg.BackoffFirst)
	p = f.accept(t)
	p.welcome(t, godwit.ConnectReply{Seq: 2, Resumed: true})
	frames = expectSends(t, p, "c1", "c3", "c4")
	for i, frame := range frames {
		p.stored(frame, godwit.Seq(10+i))
	}
	f.wantStored(t, tickets[0], 10)
	f.wantStored(t, tickets[2], 11)
	f.wantStored(t, tickets[3], 12)
}

// The server did not know about c1 while c2 and c3 were in flight (trace S3-3):
// nothing new goes out before those are answered, and then c1 goes first.
func TestRefusalForAWhileDrainsThenResendsInOrder(t *testing.T) {
	for _, refusal := range []*godwit.Error{godwit.ErrUnknown, godwit.ErrUnavailable, godwit.ErrRateLimited, godwit.ErrInternal} {
		f, p := live(t, 0, nil)
		tickets := f.submit(t, "c1", "c2", "c3")
		frames := expectSends(t, p, "c1", "c2", "c3")
		p.refuse(frames[0], refusal)
		p.barrier(t)
		tickets = append(tickets, f.submit(t, "c4")...)
		p.stored(frames[1], 2)
		f.wantStored(t, tickets[1], 2)
		f.clock.turn(pauseFirst)
		p.barrier(t) // c3 is still in flight: c1 and c4 wait
		p.refuse(frames[2], refusal)
		p.barrier(t)
		f.clock.turn(2 * pauseFirst)
		frames = expectSends(t, p, "c1", "c3", "c4")
		for i, frame := range frames {
			p.stored(frame, godwit.Seq(10+i))
		}
		f.wantStored(t, tickets[0], 10)
		f.wantStored(t, tickets[2], 11)
		f.wantStored(t, tickets[3], 12)
	}
}

func TestConflictIsRefusedAndOthersGoOn(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = encoding })
		tickets := f.submit(t, "c1", "c2")
		frames := expectSends(t, p, "c1", "c2")
		p.refuse(frames[0], godwit.ErrConflict)
		p.stored(frames[1], 1)
		_, err := tickets[0].Wait(context.Background())
		var refused *godwit.Error
		if !errors.Is(err, godwit.ErrConflict) || !errors.As(err, &refused) || errors.Is(err, ErrUnknown) || errors.Is(err, ErrNotSent) {
			t.Fatalf("got %v", err)
		}
		f.wantStored(t, tickets[1], 1)
	})
}

func TestRefusalOfANewerServerIsKept(t *testing.T) {
	f, p := live(t, 0, nil)
	ticket := f.submit(t, "c1")[0]
	p.refuse(p.expect(t, godwit.KindSend), &godwit.Error{Code: "moon.full", Num: 4999, Message: "Wait for the new moon."})
	_, err := ticket.Wait(context.Background())
	var refused *godwit.Error
	if !errors.As(err, &refused) || refused.Code != "moon.full" || refused.Num != 4999 {
		t.Fatalf("got %v", err)
	}
}

func TestEndOfContextTellsUnknownFromNotSent(t *testing.T) {
	f, p := live(t, 0, func(cfg *Config) { cfg.SendsInFlight = 1 })
	ctx, cancel := context.WithCancel(context.Background())
	tickets := f.submit(t, "c1", "c2", "c3")
	frame := expectSends(t, p, "c1")[0]
	cancel()
	_, err := tickets[1].Wait(ctx) // never written
	if !errors.Is(err, ErrNotSent) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknown) {
		t.Fatalf("queued: %v", err)
	}
	_, err = tickets[0].Wait(ctx)
	if !errors.Is(err, ErrUnknown) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrNotSent) {
		t.Fatalf("in flight: %v", err)
	}
	p.stored(frame, 1) // nobody waits for it
	frame = expectSends(t, p, "c3")[0]
	p.refuse(frame, godwit.ErrUnavailable) // certainly no effect
	p.barrier(t)
	if _, err = tickets[2].Wait(ctx); !errors.Is(err, ErrNotSent) {
		t.Fatalf("unavailable: %v", err)
	}
	ticket := f.submit(t, "c4")[0]
	f.clock.turn(pauseMax)
	p.refuse(expectSends(t, p, "c4")[0], godwit.ErrUnknown)
	p.barrier(t)
	if _, err = ticket.Wait(ctx); !errors.Is(err, ErrUnknown) {
		t.Fatalf("unknown: %v", err)
	}
}

func TestLostConnectionLeavesTheFateUnknown(t *testing.T) {
	f, p := live(t, 0, nil)
	tickets := f.submit(t, "c1")
	expectSends(t, p, "c1")
	p.drop()
	f.await(t, Waiting)
	tickets = append(tickets, f.submit(t, "c2")...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tickets[0].Wait(ctx); !errors.Is(err, ErrUnknown) {
		t.Fatalf("was in flight: %v", err)
	}
	if _, err := tickets[1].Wait(ctx); !errors.Is(err, ErrNotSent) {
		t.Fatalf("was not: %v", err)
	}
}

func TestCloseTellsUnknownFromNotSent(t *testing.T) {
	f, p := live(t, 0, func(cfg *Config) { cfg.SendsInFlight = 1 })
	tickets := f.submit(t, "c1", "c2")
	expectSends(t, p, "c1")
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := tickets[0].Wait(context.Background()); !errors.Is(err, ErrUnknown) || !errors.Is(err, ErrClosed) {
		t.Fatalf("in flight: %v", err)
	}
	if _, err := tickets[1].Wait(context.Background()); !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrClosed) {
		t.Fatalf("queued: %v", err)
	}
	if _, err := f.Send(context.Background(), "bob", Message{Text: "x"}); !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrClosed) {
		t.Fatalf("after close: %v", err)
	}
	if _, err := f.Receive(context.Background()); !errors.Is(err, ErrClosed) {
		t.Fatalf("receive: %v", err)
	}
}

func TestInFlightStaysWithinTheServersLimit(t *testing.T) {
	f := start(t, nil)
	p := f.accept(t)
	p.welcome(t, godwit.ConnectReply{Limits: godwit.Limits{InFlight: 2, Frame: 65536}})
	tickets := f.submit(t, "c1", "c2", "c3")
	frames := expectSends(t, p, "c1", "c2")
	p.barrier(t)
	p.stored(frames[0], 1)
	f.wantStored(t, tickets[0], 1)
	expectSends(t, p, "c3")
}

func TestFullQueueHoldsTheCallerBack(t *testing.T) {
	f := start(t, func(cfg *Config) { cfg.QueueMax = 2 }) // never connected
	f.accept(t)
	f.submit(t, "c1", "c2")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Submit(ctx, "bob", Message{Text: "x"}); !errors.Is(err, ErrNotSent) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestImpossibleMessagesAreRefusedHere(t *testing.T) {
	f := start(t, nil)
	f.accept(t)
	for name, m := range map[string]Message{
		"cid":  {CID: "no spaces please", Text: "x"},
		"both": {Text: "x", Data: []byte("y")},
		"utf8": {Text: "\xff"},
		"type": {Text: "x", Type: strings.Repeat("x", 65)},
	} {
		if _, err := f.Send(context.Background(), "bob", m); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Send(context.Background(), "x:y", Message{Text: "x"}); !errors.Is(err, ErrMessage) {
		t.Errorf("to: %v", err)
	}
}

func TestManySendsShareMessagesUnderTheFrameLimit(t *testing.T) {
	f := start(t, func(cfg *Config) { cfg.SendsInFlight = 300 })
	p := f.accept(t)
	var cids []string
	for i := range 300 {
		cids = append(cids, fmt.Sprintf("c%03d", i))
	}
	tickets := f.submit(t, cids...) // before the connection: they go out in one go
	p.welcome(t, godwit.ConnectReply{Limits: godwit.Limits{Frame: 4096, InFlight: 300}})
	for i := range cids {
		p.stored(expectSends(t, p, cids[i])[0], godwit.Seq(i%256))
	}
	for i, ticket := range tickets {
		f.wantStored(t, ticket, godwit.Seq(i%256))
	}
	if most := p.largest.Load(); most > 4096 || most < 1000 {
		t.Fatalf("the largest message has %d bytes, the limit is 4096", most)
	}
}

// The server would close the connection for such a frame, and that stops a
// client: one message too large must not cost all the others.
func TestMessageOverTheFrameLimitIsRefusedHere(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f := start(t, func(cfg *Config) { cfg.Encoding = encoding })
		p := f.accept(t)
		p.welcome(t, godwit.ConnectReply{Limits: godwit.Limits{Frame: 8192, InFlight: 64}})
		ctx, cancel := withPatience()
		defer cancel()
		if _, err := f.Send(ctx, "bob", Message{Text: strings.Repeat("x", 8192)}); !errors.Is(err, godwit.ErrTooLarge) {
			t.Fatalf("got %v", err)
		}
		ticket := f.submit(t, "c1")[0]
		p.stored(expectSends(t, p, "c1")[0], 1)
		f.wantStored(t, ticket, 1)
	})
}
