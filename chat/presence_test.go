package chat

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
)

// fakePresence stands for package presence: it writes down what it is told.
type fakePresence struct {
	noPresence
	mu    sync.Mutex
	calls []string
	fail  error
	hold  chan struct{} // Look waits for its end
}

func (p *fakePresence) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
}

func (p *fakePresence) Look(godwit.UserID) (bool, int64) {
	if p.hold != nil {
		<-p.hold
	}
	return true, 7
}

func (p *fakePresence) Watch(_ uint64, s godwit.SessionID, user godwit.UserID, device string, targets []godwit.UserID, hidden []bool) (string, error) {
	p.note("watch %d %s %q %v %v", s, user, device, targets, hidden)
	return device + "!", p.fail
}

func (p *fakePresence) Answered(user godwit.UserID, device string) {
	p.note("answered %s %s", user, device)
}

func (p *fakePresence) Attach(user godwit.UserID, device string, s godwit.SessionID) {
	p.note("attach %s %s %d", user, device, s)
}

func (p *fakePresence) Detach(user godwit.UserID, device string, s godwit.SessionID) {
	p.note("detach %s %s %d", user, device, s)
}
func (p *fakePresence) Missed(user godwit.UserID)  { p.note("missed %s", user) }
func (p *fakePresence) Recheck(user godwit.UserID) { p.note("recheck %s", user) }

func (p *fakePresence) wants(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.calls, want) {
		t.Errorf("presence was told %q, want %q", p.calls, want)
	}
	p.calls = nil
}

func lookFrame(get []string, watch ...string) *godwit.ClientFrame {
	f := &godwit.ClientFrame{Kind: godwit.KindPresence}
	for _, user := range get {
		f.Presence.Get = append(f.Presence.Get, []byte(user))
	}
	for _, user := range watch {
		f.Presence.Watch, f.Presence.HasWatch = append(f.Presence.Watch, []byte(user)), true
	}
	return f
}

func withPresence(p *fakePresence) func(*Config) {
	return func(c *Config) { c.Presence, c.WatchMax, c.PresenceMax = p, 3, 3 }
}

// wantSeen checks which of the users a reply shows as online.
func (s *served) wantSeen(r godwit.ServerFrame, want ...string) {
	s.t.Helper()
	got := []string{}
	for _, u := range r.Presence.Users {
		text := string(u.User)
		if !u.Online && u.LastSeen != 0 {
			text += " leaks"
		} else if !u.Online {
			text = "-" + text
		}
		got = append(got, text)
	}
	if r.Kind != godwit.KindPresence || !slices.Equal(got, want) {
		s.t.Errorf("presence %q (%+v), want %q", got, r.Error, want)
	}
}

func TestARequestForPresenceIsChecked(t *testing.T) {
	p := &fakePresence{}
	bubble(t, 1, withPresence(p), func(s *served) {
		f := func(want *godwit.Error, frame *godwit.ClientFrame) {
			t.Helper()
			s.wantError(s.ask("alice", frame), want)
		}
		f(godwit.ErrFrameInvalid, lookFrame(nil))
		f(godwit.ErrFrameInvalid, lookFrame([]string{"a", "b", "c", "d"}))
		f(godwit.ErrFrameInvalid, lookFrame(nil, "a", "b", "c", "d"))
		f(godwit.ErrBadUser, lookFrame(nil, "a b"))
		device := lookFrame(nil, "a")
		device.Presence.Device = []byte("no device")
		f(godwit.ErrFrameInvalid, device)
		p.wants(t)
		p.fail = temporary{}
		f(godwit.ErrUnavailable, lookFrame(nil, "a"))
		p.fail = errNoWatching
		f(godwit.ErrUnsupported, lookFrame(nil, "a"))
	})
	bubble(t, 1, func(c *Config) { c.WatchMax = 3 }, func(s *served) {
		s.wantError(s.ask("alice", lookFrame(nil, "a")), godwit.ErrUnsupported)
	})
}

type temporary struct{}

func (temporary) Error() string   { return "full" }
func (temporary) Temporary() bool { return true }

// TestPresenceIsPulledForAListAndForANewChat: the answer is in the order asked,
// and then come those only watched; the list counts before the answer.
func TestPresenceIsPulledForAListAndForANewChat(t *testing.T) {
	for _, groups := range []int{1, 8} {
		p := &fakePresence{}
		bubble(t, groups, withPresence(p), func(s *served) {
			s.send("alice", "bob", "c1", "hi")
			p.calls = nil
			s.wantSeen(s.ask("alice", lookFrame([]string{"bob", "dave"})), "bob", "-dave")
			s.wantSeen(s.ask("alice", lookFrame([]string{"dave", "bob", "bob"}, "bob", "carol")), "-dave", "bob", "bob", "-carol")
			p.wants(t, `watch 1 alice "" [bob carol] [false true]`, "answered alice !")
			f := lookFrame(nil)
			f.Presence.HasWatch, f.Presence.Device = true, []byte("web")
			s.wantSeen(s.ask("alice", f))
			p.wants(t, `watch 1 alice "web" [] []`, "answered alice web!")
		})
	}
}

// TestPresenceIsVisibleToThePermittedOnly: the target's side decides.
func TestPresenceIsVisibleToThePermittedOnly(t *testing.T) {
	for _, groups := range []int{1, 8} {
		p := &fakePresence{}
		bubble(t, groups, withPresence(p), func(s *served) {
			f := func(want string) {
				t.Helper()
				s.wantSeen(s.ask("alice", lookFrame([]string{"bob"})), want)
			}
			people := func(kind godwit.FrameKind, add bool) {
				t.Helper()
				frame := &godwit.ClientFrame{Kind: kind}
				list := &frame.Block
				if kind == godwit.KindContact {
					list = &frame.Contact
				}
				if list.Remove = [][]byte{[]byte("alice")}; add {
					list.Add, list.Remove = list.Remove, nil
				}
				if r := s.ask("bob", frame); r.Kind != kind {
					t.Fatalf("%+v", r.Error)
				}
			}
			s.wantSeen(s.ask("alice", lookFrame([]string{"alice"})), "alice") // oneself
			f("-bob")
			people(godwit.KindContact, true)
			f("bob")
			people(godwit.KindBlock, true)
			f("-bob")
			people(godwit.KindBlock, false)
			people(godwit.KindContact, false)
			f("-bob")
			s.send("alice", "bob", "c1", "a message makes them known")
			f("bob")
			people(godwit.KindBlock, true)
			f("-bob")
		})
	}
}

func TestPresenceOfAllIsHiddenFromTheBlockedOnly(t *testing.T) {
	p := &fakePresence{}
	bubble(t, 1, func(c *Config) { withPresence(p)(c); c.PresenceOfAll = true }, func(s *served) {
		s.wantSeen(s.ask("alice", lookFrame([]string{"bob"})), "bob")
		s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindBlock, Block: godwit.People{Add: [][]byte{[]byte("alice")}}})
		s.wantSeen(s.ask("alice", lookFrame([]string{"bob"})), "-bob")
	})
}

// TestABlockIsLookedAtAtOnce, and so is a message that finds nobody.
func TestABlockIsLookedAtAtOnce(t *testing.T) {
	p := &fakePresence{}
	bubble(t, 1, withPresence(p), func(s *served) {
		s.service.Connect(5, godwit.Hello{User: "alice", Device: "phone"})
		s.settle()
		s.ask("bob", &godwit.ClientFrame{Kind: godwit.KindBlock, Block: godwit.People{Add: [][]byte{[]byte("carol")}}})
		s.send("bob", "alice", "c1", "she is there")
		s.send("alice", "bob", "c1", "he is not")
		s.service.Disconnect(5, "alice", "phone")
		p.wants(t, "attach alice phone 5", "recheck bob", "missed bob", "detach alice phone 5")
	})
}

// TestPresenceOfAMemberIsVisibleInHisGroups, but not in channels, and no longer
// when one has left.
func TestPresenceOfAMemberIsVisibleInHisGroups(t *testing.T) {
	member := conversationRow{number: 1, groupLog: 5, groupEpoch: 1, since: 1}
	left, channel := member, member
	left.left = 9
	channel.channelFrom = 9
	for _, groups := range []int{1, 8} {
		bubble(t, groups, withPresence(&fakePresence{}), func(s *served) {
			for _, c := range []struct {
				target, watcher *conversationRow
				want            bool
			}{
				{&member, &member, true},
				{&member, &left, false},
				{&left, &member, false},
				{&channel, &channel, false},
				{&member, &channel, false},
				{&member, nil, false},
				{nil, &member, false},
			} {
				put := func(user godwit.UserID, row *conversationRow) {
					key := string(appendConversationKey(nil, user.Partition(), []byte(user), []byte("g:42")))
					rows := s.store.groups[s.store.Group(user.Partition())].rows
					delete(rows, key)
					if row != nil {
						rows[key] = row.append(nil)
					}
				}
				put("bob", c.target)
				put("alice", c.watcher)
				may := make([]bool, 2)
				s.service.MaySee("bob", []godwit.UserID{"alice", "bob"}, may)
				if may[0] != c.want || !may[1] {
					t.Errorf("%+v: alice sees bob: %v, bob himself: %v", c, may[0], may[1])
				}
			}
		})
	}
}

// TestLooksOfAUserArePaced by the users he asks for, not by his requests.
func TestLooksOfAUserArePaced(t *testing.T) {
	bubble(t, 1, func(c *Config) { withPresence(&fakePresence{})(c); c.PresenceMax = 1000 }, func(s *served) {
		many := make([]string, 1000)
		for i := range many {
			many[i] = fmt.Sprint("u", i)
		}
		for i := range 6 {
			r := s.ask("alice", lookFrame(many))
			if i < 4 != (r.Kind == godwit.KindPresence) {
				t.Errorf("request %d: %+v", i, r.Error)
			}
			if i >= 4 && (r.Error.Code != godwit.ErrRateLimited.Code || r.Error.RetryAfterMS == 0) {
				t.Errorf("request %d: %+v", i, r.Error)
			}
		}
		s.wantSeen(s.ask("bob", lookFrame([]string{"u1"})), "-u1")
		s.tick(10)
		for i := range 3 {
			if r := s.ask("alice", lookFrame(many)); i < 2 != (r.Kind == godwit.KindPresence) {
				t.Errorf("a second later, request %d: %+v", i, r.Error)
			}
		}
	})
}

// TestLooksAreBounded: what waits above it is refused, and at the end all that waits.
func TestLooksAreBounded(t *testing.T) {
	const all = looksMax + lookWorkers + 10
	p := &fakePresence{}
	bubble(t, 1, withPresence(p), func(s *served) {
		s.send("alice", "bob", "c1", "hi")
		p.hold = make(chan struct{})
		for i := range all {
			f := lookFrame([]string{"alice"})
			f.ID = uint64(10_000 + i)
			s.service.Request(1, godwit.UserID("alice"), f)
			s.settle()
		}
		refused := func() (n int) {
			for id := range uint64(all) {
				if a := s.edge.replies[10_000+id]; len(a) == 1 && a[0].Error.Code == godwit.ErrUnavailable.Code {
					n++
				}
			}
			return n
		}
		if n := refused(); n != 10 {
			t.Errorf("%d are refused", n)
		}
		go s.service.Close()
		s.settle()
		close(p.hold)
		s.settle()
		if n := refused(); n < looksMax/2 {
			t.Errorf("at the end %d are refused", n)
		}
		for id := range uint64(all) {
			if n := len(s.edge.replies[10_000+id]); n != 1 {
				t.Fatalf("request %d has %d answers", id, n)
			}
		}
	})
}
