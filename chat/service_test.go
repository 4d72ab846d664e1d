package chat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/godwit-im/godwit"
)

func TestSendRepliesAndTellsBothUsers(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			alice, bob, _ := usersApart(8)
			s.service.Connect(11, godwit.Hello{User: alice, Device: "phone", Resume: false, Epoch: "", ResumeSeq: 0})
			s.service.Connect(12, godwit.Hello{User: alice, Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
			s.service.Connect(21, godwit.Hello{User: bob, Device: "phone", Resume: false, Epoch: "", ResumeSeq: 0})
			s.settle()
			r := s.send(alice, "u:"+string(bob), "c1", "hi")
			if r.State != "stored" || r.Seq != 1 || r.Dup || r.Conv != godwit.Direct(bob) || r.Time != s.store.clock || r.MID == (godwit.MessageID{}) {
				t.Errorf("reply %+v", r)
			}
			if again := s.send(alice, string(bob), "c1", "hi"); !again.Dup || again.MID != r.MID || again.Seq != r.Seq || again.Time != r.Time || again.Conv != r.Conv {
				t.Errorf("retry %+v, first %+v", again, r)
			}
			mine, theirs := fmt.Sprintf("1 alice u:%s hi", bob), "1 alice u:alice hi"
			for session, want := range map[godwit.SessionID]string{11: mine, 12: mine, 21: theirs} {
				if got := s.edge.hints[session]; !slices.Equal(got, []string{want}) {
					t.Errorf("%d groups: session %d is told %q, want %q", groups, session, got, want)
				}
			}
			s.wantLog(alice, mine)
			s.wantLog(bob, theirs)
		})
	}
}

//tidy:long a table of bad requests
func TestBadInputGetsItsError(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.BodyBytesMax, c.PresenceMax = 10, 3 }, func(s *served) {
		for range 3 {
			s.send("bob", "alice", fmt.Sprint("c", len(s.edge.replies)), "x")
		}
		before := s.store.digests()
		send := func(want *godwit.Error, change func(f *godwit.Send)) {
			t.Helper()
			f := sendFrame("bob", "c1", "hi")
			change(&f.Send)
			s.wantError(s.ask("alice", f), want)
		}
		long := bytes.Repeat([]byte("a"), 65)
		send(godwit.ErrFrameInvalid, func(f *godwit.Send) { f.To = nil })
		send(godwit.ErrFrameInvalid, func(f *godwit.Send) { f.Group = []byte("g1") })
		send(godwit.ErrBadConv, func(f *godwit.Send) { f.To = []byte("b b") })
		send(godwit.ErrBadConv, func(f *godwit.Send) { f.To = []byte("u:") })
		send(godwit.ErrBadConv, func(f *godwit.Send) { f.To = []byte("u:u:bob") })
		send(godwit.ErrBadConv, func(f *godwit.Send) { f.To = long })
		send(godwit.ErrNotMember, func(f *godwit.Send) { f.To = []byte("g:g1") })
		send(godwit.ErrNotMember, func(f *godwit.Send) { f.To, f.Group = nil, []byte("g1") })
		send(godwit.ErrBadConv, func(f *godwit.Send) { f.To, f.Group = nil, []byte("g\x00") })
		send(godwit.ErrBadCID, func(f *godwit.Send) { f.CID = nil })
		send(godwit.ErrBadCID, func(f *godwit.Send) { f.CID = []byte("é") })
		send(godwit.ErrBadCID, func(f *godwit.Send) { f.CID = long })
		send(godwit.ErrBadBody, func(f *godwit.Send) { f.HasText = false })
		send(godwit.ErrBadBody, func(f *godwit.Send) { f.HasData = true })
		send(godwit.ErrBadBody, func(f *godwit.Send) { f.Type = long })
		send(godwit.ErrTooLarge, func(f *godwit.Send) { f.Text = long[:11] })
		send(godwit.ErrTooLarge, func(f *godwit.Send) { f.HasText, f.HasData, f.Data = false, true, long[:11] })
		send(godwit.ErrFrameInvalid, func(f *godwit.Send) { f.Time = -1 })
		send(godwit.ErrTooOld, func(f *godwit.Send) { f.Time = s.store.clock - 8*day })

		ask := func(want *godwit.Error, f godwit.ClientFrame) {
			t.Helper()
			s.wantError(s.ask("alice", &f), want)
		}
		sync := func(f godwit.Sync) godwit.ClientFrame { return godwit.ClientFrame{Kind: godwit.KindSync, Sync: f} }
		history := func(f godwit.History) godwit.ClientFrame {
			return godwit.ClientFrame{Kind: godwit.KindHistory, History: f}
		}
		presence := func(users ...string) godwit.ClientFrame {
			f := godwit.ClientFrame{Kind: godwit.KindPresence}
			for _, u := range users {
				f.Presence.Get = append(f.Presence.Get, []byte(u))
			}
			return f
		}
		ask(godwit.ErrBadCursor, sync(godwit.Sync{Since: 4}))
		ask(godwit.ErrBadCursor, sync(godwit.Sync{Since: godwit.SeqMax + 1}))
		ask(godwit.ErrBadCursor, sync(godwit.Sync{From: 5, To: 6}))
		ask(godwit.ErrFrameInvalid, sync(godwit.Sync{From: 2, To: 1}))
		ask(godwit.ErrFrameInvalid, sync(godwit.Sync{From: 2}))
		ask(godwit.ErrFrameInvalid, sync(godwit.Sync{To: 2}))
		ask(godwit.ErrFrameInvalid, sync(godwit.Sync{Since: 1, From: 1, To: 2}))
		ask(godwit.ErrBadConv, history(godwit.History{}))
		ask(godwit.ErrBadConv, history(godwit.History{Conv: []byte("x:y")}))
		ask(godwit.ErrNotMember, history(godwit.History{Conv: []byte("g:y")}))
		ask(godwit.ErrFrameInvalid, history(godwit.History{Conv: []byte("bob"), Before: 2, HasAfter: true}))
		ask(godwit.ErrBadCursor, history(godwit.History{Conv: []byte("bob"), Before: godwit.SeqMax + 1}))
		ask(godwit.ErrBadCursor, godwit.ClientFrame{Kind: godwit.KindConversations, Conversations: godwit.Conversations{Next: []byte("xyz")}})
		ask(godwit.ErrFrameInvalid, presence())
		ask(godwit.ErrFrameInvalid, presence("a", "b", "c", "d"))
		ask(godwit.ErrBadUser, presence("a", "b b"))
		ask(godwit.ErrUnsupported, godwit.ClientFrame{Kind: godwit.KindConnect})
		s.wantError(s.ask("a b", sendFrame("bob", "c", "x")), godwit.ErrBadUser)
		if !slices.Equal(before, s.store.digests()) {
			t.Error("bad input changed the state")
		}
	})
}

func TestConflictIsFinal(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.send("alice", "bob", "c1", "hi")
		r := s.ask("alice", sendFrame("bob", "c1", "ho"))
		s.wantError(r, godwit.ErrConflict)
		if r.Error.Temporary || r.Error.RetryAfterMS != 0 {
			t.Errorf("a conflict asks for a retry: %+v", r.Error)
		}
	})
}

func TestEngineErrorsAreTheAnswer(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		f := func(want *godwit.Error, err error) {
			t.Helper()
			s.store.refuse = err
			s.wantError(s.ask("alice", sendFrame("bob", "c1", "hi")), want)
			s.store.refuse = nil
		}
		f(godwit.ErrUnavailable, fmt.Errorf("queue: %w", godwit.ErrUnavailable))
		f(godwit.ErrTooLarge, fmt.Errorf("size: %w", godwit.ErrTooLarge))
		f(godwit.ErrUnknown, errors.New("something else"))
		s.store.lose = func(uint64) bool { return true }
		s.wantError(s.ask("alice", sendFrame("bob", "c1", "hi")), godwit.ErrUnknown)
		s.store.lose = nil
		if r := s.send("alice", "bob", "c1", "hi"); !r.Dup || r.Seq != 1 {
			t.Errorf("the retry of an unknown send: %+v", r)
		}
		s.store.readErr = godwit.ErrUnknown
		s.wantError(s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindSync}), godwit.ErrUnavailable)
		s.service.Fetch(1, "alice", 0, 10, 1000)
		s.service.Connect(7, godwit.Hello{User: "alice", Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
		s.settle()
		if len(s.edge.fetched) != 1 || !errors.Is(s.edge.fetched[0].err, godwit.ErrUnavailable) || s.edge.closed[7] != godwit.CloseOverloaded {
			t.Errorf("fetched %+v, closed %v", s.edge.fetched, s.edge.closed)
		}
	})
}

// G8: an engine that hangs does not hang a client.
func TestRequestsInDoubtAreAnsweredInTime(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		close(s.stop) // the engine stops applying …
		s.settle()
		s.store.hold = true // … and confirming reads
		s.service.Request(1, "alice", withID(1, sendFrame("bob", "c1", "hi")))
		s.service.Request(1, "alice", withID(2, &godwit.ClientFrame{Kind: godwit.KindSync}))
		s.service.Connect(7, godwit.Hello{User: "alice", Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
		s.service.Fetch(8, "alice", 0, 10, 1000)
		s.tick(39)
		if n := len(s.edge.replies) + len(s.edge.closed) + len(s.edge.fetched); n != 0 {
			t.Fatalf("%d answers before 4 s", n)
		}
		s.tick(1)
		s.wantError(s.edge.replies[1][0], godwit.ErrUnknown)
		s.wantError(s.edge.replies[2][0], godwit.ErrUnavailable)
		if s.edge.closed[7] != godwit.CloseOverloaded || len(s.edge.fetched) != 1 || s.edge.fetched[0].err == nil {
			t.Errorf("closed %v, fetched %+v", s.edge.closed, s.edge.fetched)
		}
		// The engine comes back: nobody is answered twice.
		s.store.hold = false
		for _, done := range s.store.held {
			done(nil)
		}
		s.stop = make(chan struct{})
		go s.store.pump(s.stop)
		s.store.signal()
		s.settle()
		if len(s.edge.replies[1]) != 1 || len(s.edge.replies[2]) != 1 || len(s.edge.welcomes[7]) != 0 || len(s.edge.fetched) != 1 {
			t.Error("a request was answered twice")
		}
		if r := s.send("alice", "bob", "c1", "hi"); !r.Dup {
			t.Errorf("the send had happened: %+v", r)
		}
	})
}

func withID(id uint64, f *godwit.ClientFrame) *godwit.ClientFrame {
	f.ID = id
	return f
}

func TestReadsAboveTheBoundAreRefused(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.ReadQueueMax = 3 }, func(s *served) {
		s.store.hold = true
		for id := range uint64(5) {
			s.service.Request(1, "alice", withID(id+1, &godwit.ClientFrame{Kind: godwit.KindSync}))
		}
		s.settle()
		if len(s.edge.replies) != 2 {
			t.Fatalf("%d answers, want 2 refusals", len(s.edge.replies))
		}
		s.wantError(s.edge.replies[5][0], godwit.ErrUnavailable)
		s.store.hold = false
		for _, done := range s.store.held {
			done(nil)
		}
		s.settle()
		if len(s.edge.replies) != 5 || s.edge.replies[1][0].Kind != godwit.KindSync {
			t.Errorf("%d answers", len(s.edge.replies))
		}
		s.sync("alice") // the room is free again
		if n := s.service.reading.Load(); n != 0 {
			t.Errorf("%d reads are counted when none runs", n)
		}
	})
}

func TestCloseAnswersWhatIsWaiting(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		close(s.stop)
		s.settle()
		s.service.Request(1, "alice", withID(1, sendFrame("bob", "c1", "hi")))
		s.service.Close()
		s.wantError(s.edge.replies[1][0], godwit.ErrUnknown)
		s.service.Request(1, "alice", withID(2, sendFrame("bob", "c2", "hi")))
		s.wantError(s.edge.replies[2][0], godwit.ErrUnavailable)
		s.service.Connect(7, godwit.Hello{User: "alice", Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
		s.service.Fetch(7, "alice", 0, 1, 1)
		if s.edge.closed[7] != godwit.CloseOverloaded || s.edge.fetched[0].err == nil {
			t.Error("a closed service opens sessions")
		}
		s.stop = make(chan struct{})
		s.store.settle() // the engine still applies what it has; nobody is told
		if len(s.edge.replies[1]) != 1 {
			t.Error("a request was answered twice")
		}
	})
}

func TestConnectResumesOrSaysWhyNot(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.ResumeMax = 5 }, func(s *served) {
		for i := range 10 {
			s.send("alice", "bob", fmt.Sprint("c", i), "x")
		}
		epoch := s.service.epochs[0]
		digest := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindConversations}).Conversations.Digest
		if r := s.ask("alice", &godwit.ClientFrame{Kind: godwit.KindSync}); digest == 0 || r.Sync.Digest != digest {
			t.Errorf("digest %d of a sync, %d of the conversations", r.Sync.Digest, digest)
		}
		session := godwit.SessionID(100)
		f := func(resume bool, with string, seq godwit.Seq, want godwit.Welcome) {
			t.Helper()
			session++
			s.service.Connect(session, godwit.Hello{User: "alice", Device: fmt.Sprint("d", session), Resume: resume, Epoch: with, ResumeSeq: seq})
			s.settle()
			want.Epoch, want.Head, want.Digest = epoch, 10, digest
			if got := s.edge.welcomes[session]; len(got) != 1 || got[0] != want {
				t.Errorf("welcome %+v, want %+v", got, want)
			}
		}
		f(false, "", 0, godwit.Welcome{Start: 10})
		f(true, epoch, 10, godwit.Welcome{Start: 10, Resumed: true})
		f(true, epoch, 5, godwit.Welcome{Start: 5, Resumed: true})
		f(true, "", 7, godwit.Welcome{Start: 7, Resumed: true})
		f(true, epoch, 4, godwit.Welcome{Start: 10, Reason: "too_far"})
		f(true, epoch, 11, godwit.Welcome{Start: 10, Reason: "ahead"})
		f(true, "other", 9, godwit.Welcome{Start: 10, Reason: "epoch"})
		s.service.Connect(1, godwit.Hello{User: "nobody-yet", Device: "web", Resume: true, Epoch: epoch, ResumeSeq: 0})
		s.settle()
		if got := s.edge.welcomes[1]; len(got) != 1 || got[0] != (godwit.Welcome{Epoch: epoch, Resumed: true}) {
			t.Errorf("a user nobody named: %+v", got)
		}
	})
}

func TestSameDeviceReplacesItsOlderSession(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		s.service.Connect(1, godwit.Hello{User: "alice", Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
		s.service.Connect(2, godwit.Hello{User: "alice", Device: "phone", Resume: false, Epoch: "", ResumeSeq: 0})
		s.service.Connect(3, godwit.Hello{User: "alice", Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
		s.settle()
		if len(s.edge.closed) != 1 || s.edge.closed[1] != godwit.CloseReplaced {
			t.Errorf("closed %v", s.edge.closed)
		}
		s.service.Disconnect(1, "alice", "web") // the old one's end
		s.send("bob", "alice", "c1", "hi")
		if len(s.edge.hints[3]) != 1 || len(s.edge.hints[2]) != 1 || len(s.edge.hints[1]) != 0 {
			t.Errorf("hints %v", s.edge.hints)
		}
		r := s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindPresence, Presence: godwit.Presence{Get: [][]byte{[]byte("alice"), []byte("bob")}}})
		if u := r.Presence.Users; len(u) != 2 || !u[0].Online || u[0].User != "alice" || u[1].Online || u[1].LastSeen != 3 {
			t.Errorf("presence %+v", r.Presence)
		}
	})
}

func TestEpochAndIDsSurviveARestart(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		first := s.send("alice", "bob", "c1", "hi")
		epochs := slices.Clone(s.service.epochs)
		s.restart()
		if again := s.send("alice", "bob", "c1", "hi"); !again.Dup || again.MID != first.MID {
			t.Errorf("after the restart %+v, before %+v", again, first)
		}
		if !slices.Equal(epochs, s.service.epochs) || len(epochs) != 8 || len(epochs[0]) != 11 {
			t.Errorf("epochs %v, before %v", s.service.epochs, epochs)
		}
	})
}

func TestStartRefusesAnotherNumberOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore(8)
		st := testSettings(4)
		store.groups[0].rows[string(appendKey(nil, 0, rowSettings))] = st.append(nil)
		service, err := NewService(Config{Machine: store.machine, Store: store, Edge: &memEdge{}, Router: &memRouter{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := service.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "4 groups") {
			t.Errorf("start: %v", err)
		}
		service.Close()
	})
}

func TestConfigRefusesWhatCannotWork(t *testing.T) {
	store := newMemStore(1)
	good := Config{Machine: store.machine, Store: store, Edge: &memEdge{}, Router: &memRouter{}}
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := good
		change(&c)
		if _, err := NewService(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
	f("required", func(c *Config) { c.Edge = nil })
	f("2 groups on a store of 1", func(c *Config) { c.Machine = NewMachine(2) })
	f("BodyBytesMax", func(c *Config) { c.BodyBytesMax = 1 << 20 })
	f("negative", func(c *Config) { c.PageMax = -1 })
	f("DedupWindow", func(c *Config) { c.Genesis.DedupWindow = 1 })
}

func TestAHintIsTheEntryOfTheLog(t *testing.T) {
	for _, groups := range []int{1, 8} {
		bubble(t, groups, nil, func(s *served) {
			alice, bob, _ := usersApart(8)
			s.service.Connect(1, godwit.Hello{User: alice, Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
			s.service.Connect(2, godwit.Hello{User: bob, Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
			s.send("carol", string(bob), "c1", "first") // bob's sequences differ from alice's
			s.send(alice, string(bob), "c1", "hi")
			for session, user := range map[godwit.SessionID]godwit.UserID{1: alice, 2: bob} {
				r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindSync})
				if got, want := s.edge.last[session], r.Sync.Entries[len(r.Sync.Entries)-1]; !reflect.DeepEqual(got, want) {
					t.Errorf("%d groups: %s is told %+v, the log has %+v", groups, user, got, want)
				}
			}
		})
	}
}
