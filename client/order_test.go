package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func withPatience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// bothEncodings runs a test with each.
func bothEncodings(t *testing.T, f func(t *testing.T, encoding Encoding)) {
	t.Run("proto", func(t *testing.T) { f(t, Proto) })
	t.Run("json", func(t *testing.T) { f(t, JSON) })
}

func TestHoleIsFetchedAndNothingComesTwice(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 10, func(cfg *Config) { cfg.Encoding = encoding })
		p.send(pushed(11), pushed(11), pushed(14), pushed(13), pushed(11))
		want := p.expect(t, godwit.KindSync)
		if want.Sync.Since != 11 || want.Sync.Limit != 100 {
			t.Fatalf("fetch %+v, want since 11", want.Sync)
		}
		p.page(want, 14, entries(12, 14)...)
		f.receiveEntries(t, 11, 14)
		p.send(pushed(14), pushed(15))
		f.receiveEntries(t, 15, 15)
		p.barrier(t)
	})
}

func TestFetchedPagesGoOnUntilTheHoleIsClosed(t *testing.T) {
	f, p := live(t, 0, nil)
	p.send(pushed(250))
	for since := godwit.Seq(0); since < 249; {
		q := p.expect(t, godwit.KindSync)
		if q.Sync.Since != since {
			t.Fatalf("fetch since %d, want %d", q.Sync.Since, since)
		}
		to := min(since+godwit.Seq(q.Sync.Limit), 249)
		p.page(q, 250, entries(since+1, to)...)
		since = to
	}
	f.receiveEntries(t, 1, 64)
	if ack := p.expect(t, godwit.KindAck); ack.Ack.Seq != 64 {
		t.Fatalf("acked %d, want 64", ack.Ack.Seq)
	}
	f.receiveEntries(t, 65, 250)
}

func TestSkipMovesTheCursor(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 10, func(cfg *Config) { cfg.Encoding = encoding })
		p.send(skip(9, 13), skip(14, 20), pushed(21))
		for _, want := range []godwit.Entry{{Seq: 11, SkipTo: 13}, {Seq: 14, SkipTo: 20}} {
			if e := f.receive(t).Entry; e.Seq != want.Seq || e.SkipTo != want.SkipTo {
				t.Fatalf("got %d..%d, want %d..%d", e.Seq, e.SkipTo, want.Seq, want.SkipTo)
			}
		}
		f.receiveEntries(t, 21, 21)
		p.drop()
		p = f.again(t)
		c := p.welcome(t, godwit.ConnectReply{Seq: 21, Resumed: true})
		if !c.Connect.Resume.Set || string(c.Connect.Resume.Epoch) != "e1" || c.Connect.Resume.Seq != 21 {
			t.Fatalf("resume %+v", c.Connect.Resume)
		}
	})
}

func TestResumeReplaysOnceAndInOrder(t *testing.T) {
	f, p := live(t, 10, nil)
	p.send(pushed(11), pushed(12))
	f.receiveEntries(t, 11, 11) // 12 stays with the client, across the reconnect
	p.barrier(t)
	p.drop()
	p = f.again(t)
	c := p.welcome(t, godwit.ConnectReply{Seq: 14, Resumed: true, Missed: 2})
	if c.Connect.Resume.Seq != 12 {
		t.Fatalf("resume after %d, want 12", c.Connect.Resume.Seq)
	}
	if s := f.await(t, Replaying); s.Welcome.Missed != 2 {
		t.Fatalf("missed %d, want 2", s.Welcome.Missed)
	}
	p.send(pushed(13), pushed(14), godwit.ServerFrame{Kind: godwit.KindResumed, Resumed: godwit.Resumed{Seq: 14}})
	f.await(t, Live)
	f.receiveEntries(t, 12, 14)
	p.barrier(t) // the replay was not fetched as well
}

func TestConfiguredResumeAndToken(t *testing.T) {
	f := start(t, func(cfg *Config) { cfg.Resume = &Position{"e1", 5} })
	p := f.accept(t)
	c := p.welcome(t, godwit.ConnectReply{Seq: 6, Resumed: true})
	if string(c.Connect.Token) != "t" || string(c.Connect.Device) != "d" || c.Connect.Resume.Seq != 5 {
		t.Fatalf("connect %+v", c.Connect)
	}
	if f.Position() != (Position{"e1", 5}) {
		t.Fatalf("position %v", f.Position())
	}
	p.send(pushed(6))
	f.receiveEntries(t, 6, 6)
}

func TestSincePagesWhileLiveEntriesWait(t *testing.T) {
	since := godwit.Seq(2)
	f := start(t, func(cfg *Config) { cfg.Since = &since })
	p := f.accept(t)
	c := p.welcome(t, godwit.ConnectReply{Seq: 5})
	if c.Connect.Resume.Set {
		t.Fatal("resume without an epoch")
	}
	q := p.expect(t, godwit.KindSync)
	p.send(pushed(6), pushed(7)) // live, while the page is read
	p.barrier(t)
	if s := f.State(); s.Phase != Replaying {
		t.Fatalf("state %v", s.Phase)
	}
	p.page(q, 7, entries(3, 5)...)
	f.await(t, Live)
	f.receiveEntries(t, 3, 7)
	if f.Head() != 7 {
		t.Fatalf("head %d, want 7", f.Head())
	}
}

func wantGap(t *testing.T, item Item, reason string, from, to Position) {
	t.Helper()
	if item.Gap == nil || *item.Gap != (Discontinuity{Reason: reason, From: from, To: to}) || item.At != to {
		t.Fatalf("got %+v (gap %+v), want %s %v..%v", item, item.Gap, reason, from, to)
	}
}

func TestNewEpochIsADiscontinuity(t *testing.T) {
	f, p := live(t, 10, nil)
	p.send(pushed(11), pushed(13)) // 12 will never come
	p.expect(t, godwit.KindSync)
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Epoch: "e2", Seq: 3, Reason: "epoch"})
	for seq := range godwit.Seq(10) {
		p.send(pushed(4 + seq))
	}
	p.barrier(t)
	f.receiveEntries(t, 11, 11)
	p.barrier(t)
	f.clock.turn(ackAfter)
	p.barrier(t) // 11 was of the old log: it acks nothing of the new one
	wantGap(t, f.receive(t), "epoch", Position{"e1", 11}, Position{"e2", 3})
	if item := f.receive(t); item.Entry.Seq != 4 || f.Position() != (Position{"e2", 4}) {
		t.Fatalf("got %+v at %v", item, f.Position())
	}
	p.barrier(t)
	f.clock.turn(ackAfter)
	if ack := p.expect(t, godwit.KindAck); ack.Ack.Seq != 4 {
		t.Fatalf("acked %d, want 4", ack.Ack.Seq)
	}
}

// A fetch may bring what the connection has not pushed yet, and the server
// refuses an ack of that.
func TestAckWaitsForThePush(t *testing.T) {
	f, p := live(t, 10, nil)
	p.send(pushed(12))
	p.page(p.expect(t, godwit.KindSync), 100, entries(11, 100)...)
	f.receiveEntries(t, 11, 100)
	p.barrier(t)
	f.clock.turn(ackAfter)
	if ack := p.expect(t, godwit.KindAck); ack.Ack.Seq != 12 {
		t.Fatalf("acked %d, want 12", ack.Ack.Seq)
	}
	for seq := godwit.Seq(13); seq <= 100; seq++ {
		p.send(pushed(seq))
	}
	if ack := p.expect(t, godwit.KindAck); ack.Ack.Seq < 12+ackEvery {
		t.Fatalf("acked %d", ack.Ack.Seq)
	}
}

func TestTooFarIsADiscontinuityOrAReplayAsConfigured(t *testing.T) {
	f, p := live(t, 10, nil)
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Seq: 9000, Reason: "too_far"})
	wantGap(t, f.receive(t), "too_far", Position{"e1", 10}, Position{"e1", 9000})

	f, p = live(t, 10, func(cfg *Config) { cfg.CatchUp = Replay })
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Seq: 12, Reason: "too_far"})
	p.send(pushed(13))
	p.page(p.expect(t, godwit.KindSync), 13, entries(11, 12)...)
	f.receiveEntries(t, 11, 13)
}

func TestRejectedFetchReconnectsInsteadOfSkipping(t *testing.T) {
	f, p := live(t, 10, nil)
	p.send(pushed(13))
	p.page(p.expect(t, godwit.KindSync), 13) // an empty page: no progress
	s := f.await(t, Waiting)
	if !errors.Is(s.Err, errNoProgress) {
		t.Fatalf("state %+v", s)
	}
	f.clock.turn(s.Until.Sub(f.clock.Now()))
	p = f.accept(t)
	p.welcome(t, godwit.ConnectReply{Seq: 13, Resumed: true})
	p.barrier(t) // the replay is not fetched as well
	p.send(pushed(11), pushed(12), pushed(13))
	f.receiveEntries(t, 11, 13)
}

func TestAckFollowsWhatTheApplicationTook(t *testing.T) {
	f, p := live(t, 0, nil)
	for seq := range godwit.Seq(100) {
		p.send(pushed(seq + 1))
	}
	p.barrier(t) // all arrived, none taken: no ack
	f.receiveEntries(t, 1, ackEvery)
	if ack := p.expect(t, godwit.KindAck); ack.Ack.Seq != ackEvery {
		t.Fatalf("acked %d, want %d", ack.Ack.Seq, ackEvery)
	}
	f.receiveEntries(t, ackEvery+1, ackEvery+1)
	p.barrier(t) // the loop has seen the last one leave
	f.clock.turn(ackAfter)
	if ack := p.expect(t, godwit.KindAck); ack.Ack.Seq != ackEvery+1 {
		t.Fatalf("acked %d, want %d", ack.Ack.Seq, ackEvery+1)
	}
}

func TestFloodIsBoundedAndNothingIsLost(t *testing.T) {
	f, p := live(t, 0, nil)
	const flood = 3000 // far beyond any window, and nobody takes
	for seq := range godwit.Seq(flood) {
		p.send(pushed(seq + 1))
	}
	p.barrier(t)
	served := make(chan struct{})
	go func() { // answer fetches until all is there
		defer close(served)
		for seq := godwit.Seq(0); seq < flood; {
			select {
			case q := <-p.frames:
				if q.Kind == godwit.KindSync {
					p.page(&q, flood, entries(q.Sync.Since+1, min(q.Sync.Since+100, flood))...)
					seq = q.Sync.Since + 100
				}
			case <-time.After(patience):
				return
			}
		}
	}()
	f.receiveEntries(t, 1, flood)
	<-served
}
