package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// asked runs one request and returns the frame the server gets, and how to wait
// for its end.
func asked[T any](t *testing.T, p *peer, kind godwit.FrameKind, call func() (T, error)) (*godwit.ClientFrame, func() (T, error)) {
	t.Helper()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	frame := p.expect(t, kind)
	return frame, func() (T, error) {
		t.Helper()
		select {
		case r := <-done:
			return r.value, r.err
		case <-time.After(patience):
			t.Fatal("no end")
			panic("unreachable")
		}
	}
}

func TestGroupRequestsCarryWhatWasAsked(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = encoding })
		ctx := t.Context()
		name := "Go"
		for want, call := range map[string]func() (godwit.GroupReply, error){
			"create   c1 Chess true [bob carol]  invite all": func() (godwit.GroupReply, error) {
				return f.CreateGroup(ctx, NewGroup{CID: "c1", Name: "Chess", Members: []godwit.UserID{"bob", "carol"}, Join: "invite", History: "all"})
			},
			"info 42    false []   ":         func() (godwit.GroupReply, error) { return f.GroupInfo(ctx, "g:42") },
			"add 42    false [bob]   ":       func() (godwit.GroupReply, error) { return f.AddMembers(ctx, "42", "bob") },
			"remove 42    false [bob]   ":    func() (godwit.GroupReply, error) { return f.RemoveMembers(ctx, "42", "bob") },
			"role 42    false [bob] admin  ": func() (godwit.GroupReply, error) { return f.SetRole(ctx, "42", "admin", "bob") },
			"leave 42    false []   ":        func() (godwit.GroupReply, error) { return f.LeaveGroup(ctx, "42") },
			"join 42    false []   ":         func() (godwit.GroupReply, error) { return f.JoinGroup(ctx, "42") },
			"set 42   Go true []  open ": func() (godwit.GroupReply, error) {
				return f.SetGroup(ctx, "42", GroupSettings{Name: &name, Join: "open"})
			},
		} {
			frame, wait := asked(t, p, godwit.KindGroup, call)
			g := &frame.Group
			if got := fmt.Sprintf("%s %s  %s %s %t %s %s %s %s", g.Do, g.Group, g.CID, g.Name, g.HasName, g.Users, g.Role, g.Join, g.History); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindGroup, Group: godwit.GroupReply{Group: "42", Conv: "g:42", Count: 3}})
			if reply, err := wait(); err != nil || reply.Conv != "g:42" || reply.Count != 3 {
				t.Errorf("%+v, %v", reply, err)
			}
		}
	})
}

func TestMembersAndGroupsArePaged(t *testing.T) {
	f, p := live(t, 0, nil)
	frame, wait := asked(t, p, godwit.KindGroup, func() (users []godwit.UserID, err error) {
		for m, err := range f.Members(t.Context(), "42") {
			if err != nil {
				return users, err
			}
			users = append(users, m.User)
		}
		return users, nil
	})
	p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindGroup, Group: godwit.GroupReply{Members: []godwit.Member{{User: "a"}, {User: "b"}}, Next: "n"}})
	if frame = p.expect(t, godwit.KindGroup); string(frame.Group.Next) != "n" || string(frame.Group.Do) != "members" {
		t.Fatalf("%+v", frame.Group)
	}
	p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindGroup, Group: godwit.GroupReply{Members: []godwit.Member{{User: "c"}}}})
	if users, err := wait(); err != nil || !slices.Equal(users, []godwit.UserID{"a", "b", "c"}) {
		t.Fatalf("%v %v", users, err)
	}
}

func TestChangesAreAnsweredByDone(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = encoding })
		ctx := t.Context()
		mid := godwit.MessageID{7}
		yes, until := true, time.UnixMilli(5000)
		check := func(kind godwit.FrameKind, call func() (godwit.Done, error), right func(f *godwit.ClientFrame) bool) {
			t.Helper()
			frame, wait := asked(t, p, kind, call)
			if !right(frame) {
				t.Errorf("got %+v", frame)
			}
			p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindDone, Done: godwit.Done{Seq: 9, Dup: true}})
			if done, err := wait(); err != nil || done != (godwit.Done{Seq: 9, Dup: true}) {
				t.Errorf("%+v, %v", done, err)
			}
		}
		check(godwit.KindMark, func() (godwit.Done, error) { return f.Mark(ctx, "bob", Marks{Read: 3, Delivered: 4}) },
			func(f *godwit.ClientFrame) bool {
				return string(f.Mark.Conv) == "u:bob" && f.Mark.Read == 3 && f.Mark.Delivered == 4
			})
		check(godwit.KindEdit, func() (godwit.Done, error) { return f.Edit(ctx, mid, Message{Text: ""}) },
			func(f *godwit.ClientFrame) bool {
				return string(f.Edit.MID) == mid.String() && f.Edit.HasText && !f.Edit.HasData
			})
		check(godwit.KindRecall, func() (godwit.Done, error) { return f.Recall(ctx, mid) },
			func(f *godwit.ClientFrame) bool { return string(f.Recall.MID) == mid.String() })
		check(godwit.KindConversation, func() (godwit.Done, error) {
			return f.SetConversation(ctx, "g:1", ConversationSettings{Mute: &until, Pin: &yes, Delete: 8})
		}, func(f *godwit.ClientFrame) bool {
			c := &f.Conversation
			return string(c.Conv) == "g:1" && c.HasMute && c.Mute == 5000 && c.HasPin && c.Pin && !c.HasArchive && c.Delete == 8
		})
		check(godwit.KindDevice, func() (godwit.Done, error) { return godwit.Done{Seq: 9, Dup: true}, f.Logout(ctx, "phone") },
			func(f *godwit.ClientFrame) bool {
				return string(f.Device.Do) == "logout" && string(f.Device.Device) == "phone" && !f.Device.All
			})
	})
}

func TestAChangeWithoutAnswerIsUnknownAndAReadIsNot(t *testing.T) {
	f, p := live(t, 0, nil)
	_, edited := asked(t, p, godwit.KindRecall, func() (godwit.Done, error) { return f.Recall(t.Context(), godwit.MessageID{1}) })
	_, listed := asked(t, p, godwit.KindDevice, func() ([]godwit.DeviceItem, error) { return f.Devices(t.Context()) })
	p.drop()
	f.await(t, Waiting)
	_ = f.Close()
	if _, err := edited(); !errors.Is(err, ErrUnknown) {
		t.Errorf("recall: %v", err)
	}
	if _, err := listed(); !errors.Is(err, ErrNotSent) || errors.Is(err, ErrUnknown) {
		t.Errorf("devices: %v", err)
	}
}

func TestRefusalsAreTheSentinelsOfTheirCodes(t *testing.T) {
	f, p := live(t, 0, nil)
	for _, want := range []*godwit.Error{godwit.ErrForbidden, godwit.ErrTooLate, godwit.ErrNoMessage, godwit.ErrNotMember, godwit.ErrListFull} {
		frame, wait := asked(t, p, godwit.KindRecall, func() (godwit.Done, error) { return f.Recall(t.Context(), godwit.MessageID{1}) })
		p.refuse(frame, want)
		if _, err := wait(); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// What the operator's service answers is for the user to read.
func TestARefusalKeepsTheOperatorsWords(t *testing.T) {
	f, p := live(t, 0, nil)
	own := *godwit.ErrRefused
	own.Message = "No advertisements."
	frame, wait := asked(t, p, godwit.KindEdit, func() (godwit.Done, error) {
		return f.Edit(t.Context(), godwit.MessageID{1}, Message{Text: "buy"})
	})
	p.refuse(frame, &own)
	if _, err := wait(); !errors.Is(err, godwit.ErrRefused) || errors.Is(err, godwit.ErrNoMessage) || !strings.Contains(err.Error(), "No advertisements.") {
		t.Errorf("got %v", err)
	}
}

func TestPeopleAndPresenceLists(t *testing.T) {
	presence := make(chan godwit.PresenceItem, 16)
	f, p := live(t, 0, func(cfg *Config) { cfg.OnPresence = func(i godwit.PresenceItem) { presence <- i } })
	frame, wait := asked(t, p, godwit.KindBlock, func() ([]godwit.UserID, error) {
		return f.Block(t.Context(), People{Add: []godwit.UserID{"m"}, Remove: []godwit.UserID{"n"}})
	})
	if fmt.Sprintf("%s", [][][]byte{frame.Block.Add, frame.Block.Remove}) != "[[m] [n]]" {
		t.Errorf("%+v", frame.Block)
	}
	p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindBlock, People: godwit.PeopleReply{Users: []godwit.UserID{"m"}}})
	if users, err := wait(); err != nil || len(users) != 1 {
		t.Errorf("%v %v", users, err)
	}
	if _, err := f.Contacts(t.Context(), People{Add: []godwit.UserID{"b b"}}); !errors.Is(err, godwit.ErrBadUser) {
		t.Errorf("got %v", err)
	}
	watching := func(p *peer, users string) *godwit.ClientFrame {
		t.Helper()
		frame := p.expect(t, godwit.KindPresence)
		if got := fmt.Sprintf("%s", frame.Presence.Watch); got != users || !frame.Presence.HasWatch {
			t.Fatalf("watches %s", got)
		}
		return frame
	}
	go func() { _, _ = f.Watch(t.Context(), "bob", "carol") }()
	frame = watching(p, "[bob carol]")
	p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindPresence},
		godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{Presence: godwit.PresenceItem{User: "bob", Online: true}}})
	if i := <-presence; i.User != "bob" || !i.Online {
		t.Errorf("%+v", i)
	}
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Resumed: true})
	frame = watching(p, "[bob carol]") // a session knows nothing of the last one
	p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindPresence, Presence: godwit.PresenceReply{Users: []godwit.PresenceItem{{User: "bob"}}}})
	if i := <-presence; i.User != "bob" || i.Online {
		t.Errorf("what changed meanwhile is not told: %+v", i)
	}
	p.send(godwit.ServerFrame{Kind: godwit.KindPresence, Presence: godwit.PresenceReply{Users: []godwit.PresenceItem{{User: "carol", Online: true}}}})
	if i := <-presence; i.User != "carol" || !i.Online {
		t.Errorf("where users are after a pause of the server is not told: %+v", i)
	}
}

func TestTypingIsSaidOnceOrNotAtAll(t *testing.T) {
	typing := make(chan godwit.TypingNotice, 1)
	f, p := live(t, 0, func(cfg *Config) { cfg.OnTyping = func(n godwit.TypingNotice) { typing <- n } })
	if err := f.Typing(t.Context(), "bob", true); err != nil {
		t.Fatal(err)
	}
	if frame := p.expect(t, godwit.KindTyping); frame.ID != 0 || string(frame.Typing.Conv) != "u:bob" || !frame.Typing.Stop {
		t.Fatalf("%+v", frame)
	}
	p.send(godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsTyping: true, Typing: godwit.TypingNotice{Conv: "u:bob", User: "bob"}}})
	if n := <-typing; n.User != "bob" || n.Stop {
		t.Errorf("%+v", n)
	}
	p.drop()
	f.await(t, Waiting)
	if err := f.Typing(t.Context(), "bob", false); !errors.Is(err, ErrNotSent) {
		t.Errorf("without a session: %v", err)
	}
	f.clock.turn(f.cfg.BackoffFirst)
	p = f.accept(t)
	p.welcome(t, godwit.ConnectReply{Resumed: true})
	p.barrier(t) // nothing is said later
}

func TestReceiptsOfMembersAreHandedOn(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		receipts, others := make(chan godwit.Receipt, 2), make(chan godwit.PresenceItem, 2)
		want := godwit.Receipt{Conv: "g:42", User: "bob", Delivered: 7, Read: 5}
		frame := godwit.ServerFrame{Kind: godwit.KindEphemeral, Ephemeral: godwit.Ephemeral{IsReceipt: true, Receipt: want}}
		_, p := live(t, 0, func(cfg *Config) {
			cfg.Encoding = encoding
			cfg.OnReceipt = func(r godwit.Receipt) { receipts <- r }
			cfg.OnPresence = func(i godwit.PresenceItem) { others <- i }
		})
		p.send(frame)
		if got := <-receipts; got != want {
			t.Errorf("%+v", got)
		}
		_, p = live(t, 0, func(cfg *Config) { // who does not want them
			cfg.Encoding, cfg.OnPresence = encoding, func(i godwit.PresenceItem) { others <- i }
		})
		p.send(frame)
		p.barrier(t)
		if len(receipts)+len(others) != 0 {
			t.Error("told of something else")
		}
	})
}

func marked(t *testing.T, p *peer, want ...string) {
	t.Helper()
	var got []string
	for range want {
		frame := p.expect(t, godwit.KindMark)
		got = append(got, fmt.Sprintf("%s %d", frame.Mark.Conv, frame.Mark.Delivered))
		p.send(godwit.ServerFrame{ID: frame.ID, Kind: godwit.KindDone})
	}
	if !slices.Equal(got, want) {
		t.Fatalf("marks %q, want %q", got, want)
	}
}

func TestReceivedMessagesAreMarkedOncePerSecondAndConversation(t *testing.T) {
	f, p := live(t, 0, func(cfg *Config) { cfg.NoDelivered = false })
	p.send(pushed(1))
	f.receiveEntries(t, 1, 1)
	marked(t, p, "u:bob 1") // the first at once
	p.begin(t, 1, begins("g:1", 6, false))
	p.send(pushed(2), pushed(3), told("g:1", 7), told("g:1", 8))
	f.receiveEntries(t, 2, 3)
	f.receiveChannel(t, "g:1", 7, 8)
	p.barrier(t)
	f.clock.turn(deliveredEvery / 4)
	p.barrier(t)
	f.clock.turn(deliveredEvery / 4) // an ack is due as well
	p.expect(t, godwit.KindAck)
	p.barrier(t)
	f.clock.turn(deliveredEvery / 2)
	marked(t, p, "g:1 8", "u:bob 3")
	f.clock.turn(20 * time.Second)
	p.barrier(t)
}

func TestDeliveredMarksOutliveAConnectionAndEndWithAServerThatHasNone(t *testing.T) {
	f, p := live(t, 0, func(cfg *Config) { cfg.NoDelivered = false })
	p.send(pushed(1))
	f.receiveEntries(t, 1, 1)
	p.expect(t, godwit.KindMark)
	p.drop()
	p = f.again(t)
	p.welcome(t, godwit.ConnectReply{Seq: 1, Resumed: true})
	again := p.expect(t, godwit.KindMark)
	if again.Mark.Delivered != 1 {
		t.Fatalf("%+v", again.Mark)
	}
	p.refuse(again, godwit.ErrFrameUnknown)
	p.send(pushed(2))
	f.receiveEntries(t, 2, 2)
	p.barrier(t)
	f.clock.turn(20 * time.Second)
	p.expect(t, godwit.KindAck)
	p.barrier(t)
}

func TestEntriesOfAllKindsComeInOrder(t *testing.T) {
	bothEncodings(t, func(t *testing.T, encoding Encoding) {
		f, p := live(t, 0, func(cfg *Config) { cfg.Encoding = encoding })
		text := godwit.Message{MID: godwit.MessageID{1}, Conv: []byte("u:bob"), From: []byte("bob"), Time: 5, Body: []byte("new"), Text: true}
		gone := godwit.Message{MID: godwit.MessageID{1}, Conv: []byte("u:bob"), From: []byte("bob"), Time: 6}
		want := []godwit.Entry{
			{Seq: 1, Kind: godwit.EntryReceipt, Receipt: &godwit.Receipt{Conv: "u:bob", User: "bob", Delivered: 3, Read: 2}},
			{Seq: 2, Kind: godwit.EntryEdit, Msg: text},
			{Seq: 3, Kind: godwit.EntryRecall, Msg: gone},
			{Seq: 4, GSeq: 9, Kind: godwit.EntryGroup, Group: &godwit.GroupChange{Conv: "g:1", By: "bob", Do: "add", Users: []godwit.UserID{"x"}, Count: 2}},
			{Seq: 5, Kind: godwit.EntrySettings, Settings: &godwit.ConversationSettings{Conv: "u:bob", Pin: true}},
		}
		for _, i := range []int{4, 2, 3, 0, 1} {
			p.send(godwit.ServerFrame{Kind: godwit.KindEvent, Event: want[i]})
			if i == 4 { // beyond a hole
				p.expect(t, godwit.KindSync)
			}
		}
		for i := range want {
			got := f.receive(t).Entry
			if a, b := string(godwit.AppendEvent(nil, godwit.EncodingJSON, &got)), string(godwit.AppendEvent(nil, godwit.EncodingJSON, &want[i])); a != b {
				t.Errorf("got %s, want %s", a, b)
			}
		}
	})
}
