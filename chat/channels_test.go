package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// flush hands an effect on as a flush does.
func (g *handGroup) flush(e groupEffect) {
	g.s.service.channels.entered(&e, &flushScratch{})
	g.s.settle()
}

// channel makes a channel of a hand-made group at its head, for users who have
// their pointers through it.
func (s *served) handChannel(id godwit.GroupID, flags uint64, users ...godwit.UserID) *handGroup {
	g := s.handGroup(id, flags)
	for _, user := range users {
		g.join(user)
	}
	g.row.boundary = g.row.head + 1
	g.change(groupChange{do: doChannel, by: []byte("alice"), count: 600, boundary: g.row.boundary})
	for i, user := range users {
		var seqs []godwit.Seq
		for seq := godwit.Seq(i + 1); seq <= g.row.boundary; seq++ {
			seqs = append(seqs, seq)
		}
		g.point(user, func(c *conversationRow) { c.channelFrom, c.channelSeq = g.row.boundary, c.last }, seqs...)
		g.userRow(user, func(u *userRow) { u.groups++; u.channels++ })
	}
	return g
}

func (s *served) connect(session godwit.SessionID, h godwit.Hello) godwit.Welcome {
	s.t.Helper()
	if h.Device == "" {
		h.Device = fmt.Sprint("d", session)
	}
	s.service.Connect(session, h)
	s.settle()
	if n := len(s.edge.welcomes[session]); n != 1 {
		s.t.Fatalf("%d answers to the connect of %d, closed %v", n, session, s.edge.closed)
	}
	return s.edge.welcomes[session][0]
}

// told draws what a session was told outside of its log since it was last drawn.
func (s *served) told(session godwit.SessionID) (lines []string) {
	s.t.Helper()
	s.edge.mu.Lock()
	defer s.edge.mu.Unlock()
	for _, hint := range s.edge.hints[session] {
		text, ok := strings.CutPrefix(hint, "tell ")
		if !ok {
			continue
		}
		var f struct {
			Ev *struct {
				Seq, GSeq uint64
				Msg       *struct{ Text string }
				Group     *struct {
					Do    string
					Users []string
				}
			}
			Channel *struct {
				Conv  string
				GSeq  uint64
				Reset bool
			}
		}
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
		switch {
		case f.Channel != nil && f.Channel.Conv == "":
			lines = append(lines, "all begun")
		case f.Channel != nil && f.Channel.Reset:
			lines = append(lines, fmt.Sprintf("%s reset to %d", f.Channel.Conv, f.Channel.GSeq))
		case f.Channel != nil:
			lines = append(lines, fmt.Sprintf("%s from %d", f.Channel.Conv, f.Channel.GSeq))
		case f.Ev.Msg != nil:
			lines = append(lines, fmt.Sprintf("%d %s", f.Ev.GSeq, f.Ev.Msg.Text))
		case f.Ev.Group != nil:
			lines = append(lines, fmt.Sprintf("%d %s %v", f.Ev.GSeq, f.Ev.Group.Do, f.Ev.Group.Users))
		default:
			lines = append(lines, text)
		}
	}
	s.edge.hints[session] = nil
	return lines
}

func (s *served) wantTold(what string, session godwit.SessionID, want ...string) {
	s.t.Helper()
	if got := s.told(session); !slices.Equal(got, want) {
		s.t.Errorf("%s: session %d was told %q, want %q", what, session, got, want)
	}
}

func placeIn(group string, gseq godwit.Seq) []godwit.ChannelPlace {
	return []godwit.ChannelPlace{{Conv: []byte("g:" + group), GSeq: gseq}}
}

func TestASessionFollowsItsChannelsFromTheirHead(t *testing.T) {
	eachWorld(t, func(s *served) {
		t := s.t
		g := s.handChannel("gch", 0, "bob") // 2
		g.message("alice", "old")
		if w := s.connect(1, godwit.Hello{User: "bob"}); !w.Channels {
			t.Errorf("welcome %+v", w)
		}
		s.wantTold("connect", 1, "g:gch from 3", "all begun")
		g.flush(g.message("alice", "four"))
		g.flush(g.message("bob", "five"))
		s.wantTold("live", 1, "4 four", "5 five")
		if w := s.connect(2, godwit.Hello{User: "carol"}); w.Channels {
			t.Error("one without channels is to wait for them")
		}
		s.service.Disconnect(1, "bob", "d1")
		g.flush(g.message("alice", "six"))
		s.wantTold("gone", 1)
		if c := &s.service.channels; len(c.byLog)+len(c.sessions)+len(c.users)+len(c.opening) != 0 {
			t.Errorf("left behind: %d channels, %d sessions, %d users, %d opening", len(c.byLog), len(c.sessions), len(c.users), len(c.opening))
		}
	})
}

func TestAResumeGoesOnInChannels(t *testing.T) {
	eachWorld(t, func(s *served) {
		g := s.handChannel("gch", 0, "bob") // boundary 2, of which bob's log tells at 2
		later := s.handGroup("glater", 0)
		later.join("bob")
		var seqs []godwit.Seq
		for seq := godwit.Seq(1); seq <= followNear; seq++ { // his log ends at 130
			if seq > 1 {
				later.message("alice", "x")
			}
			seqs = append(seqs, seq)
		}
		later.point("bob", nil, seqs...)
		for _, text := range []string{"three", "four", "five"} {
			g.message("alice", text)
		}
		session := godwit.SessionID(0)
		f := func(what string, h godwit.Hello, want ...string) {
			s.t.Helper()
			session++
			h.User = "bob"
			s.connect(session, h)
			s.wantTold(what, session, append(want, "all begun")...)
			n := g.row.messages
			g.flush(g.message("alice", fmt.Sprint("live", n)))
			s.wantTold(what+", live", session, fmt.Sprintf("%d live%d", g.row.head, n))
			g.row.head--
			g.row.messages--
			g.put()
			g.with(g.id.Partition(), func(m *memGroup) { m.logs[g.log()] = m.logs[g.log()][:g.row.head] })
			s.service.Disconnect(session, "bob", fmt.Sprint("d", session))
		}
		f("the place of the client", godwit.Hello{Resume: true, ResumeSeq: 2, Channels: placeIn("gch", 3)}, "4 four", "5 five")
		f("the head", godwit.Hello{Resume: true, ResumeSeq: 2, Channels: placeIn("gch", 5)})
		f("a channel it has not heard of", godwit.Hello{Resume: true, ResumeSeq: 1}, "g:gch from 2", "3 three", "4 four", "5 five")
		f("a channel that began when it was gone", godwit.Hello{Resume: true, ResumeSeq: 2}, "g:gch from 2", "3 three", "4 four", "5 five")
		f("the last place where it may not know", godwit.Hello{Resume: true, ResumeSeq: 1 + followNear}, "g:gch from 2", "3 three", "4 four", "5 five")
		f("a channel whose place it does not say", godwit.Hello{Resume: true, ResumeSeq: 2 + followNear}, "g:gch reset to 5")
		f("a place ahead", godwit.Hello{Resume: true, ResumeSeq: 2, Channels: placeIn("gch", 50)}, "g:gch reset to 5")
		f("no resume", godwit.Hello{Channels: placeIn("gch", 3)}, "g:gch reset to 5")
		f("a resume that is refused", godwit.Hello{Resume: true, ResumeSeq: 999, Channels: placeIn("gch", 3)}, "g:gch reset to 5")
		f("another group", godwit.Hello{Resume: true, ResumeSeq: 2 + followNear, Channels: placeIn("gother", 3)}, "g:gch reset to 5")
	})
}

func TestAChannelTooFarBehindIsReset(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.ResumeMax = 10 }, func(s *served) {
		g := s.handChannel("gch", 0, "bob")
		other := s.handChannel("gother", 0, "bob")
		for i := range 8 {
			g.message("alice", fmt.Sprint(i))
			other.message("alice", fmt.Sprint(i))
		}
		s.connect(1, godwit.Hello{User: "bob", Resume: true, ResumeSeq: 4, Channels: append(placeIn("gch", 2), placeIn("gother", 2)...)})
		s.wantTold("two channels of eight", 1, "3 0", "4 1", "5 2", "6 3", "7 4", "8 5", "9 6", "10 7", "g:gother reset to 10", "all begun")
	})
	bubble(t, 1, nil, func(s *served) {
		g := s.handChannel("gch", 0, "bob")
		for range 20 {
			g.message("alice", strings.Repeat("x", 100<<10))
		}
		s.connect(1, godwit.Hello{User: "bob", Resume: true, ResumeSeq: 2, Channels: placeIn("gch", 2)})
		told := s.told(1)
		if n := len(told); n < 10 || n > 15 || told[n-2] != "g:gch reset to 22" || told[n-1] != "all begun" {
			t.Errorf("told %d, at the end %.40q", n, told[max(n-2, 0):])
		}
		g.flush(g.message("alice", "live"))
		s.wantTold("live", 1, "23 live")
	})
}

func TestWhoIsRemovedIsToldOfThatAndOfNothingLater(t *testing.T) {
	eachWorld(t, func(s *served) {
		t := s.t
		g := s.handChannel("gch", 0, "bob", "carol") // 3
		s.connect(1, godwit.Hello{User: "bob"})
		s.connect(2, godwit.Hello{User: "bob"})
		s.connect(3, godwit.Hello{User: "carol"})
		s.told(1)
		s.told(2)
		s.told(3)
		g.flush(g.leave("bob"))
		g.flush(g.message("alice", "secret"))
		s.wantTold("removed", 1, "4 remove [bob]")
		s.wantTold("removed", 2, "4 remove [bob]")
		s.wantTold("another", 3, "4 remove [bob]", "5 secret")
		s.connect(4, godwit.Hello{User: "bob", Resume: true, ResumeSeq: 3, Channels: placeIn("gch", 3)})
		s.wantTold("an old cursor", 4, "4 remove [bob]", "all begun")
		g.flush(g.message("alice", "secret too"))
		s.wantTold("an old cursor, later", 4)
		if ch := s.service.channels.byLog[g.log()]; len(ch.live) != 1 {
			t.Errorf("%d sessions follow", len(ch.live))
		}
		g.flush(g.join("bob")) // 7
		s.service.channels.begins(&channelEffect{user: []byte("bob"), group: []byte("gch"), log: g.log(), from: 7}, &flushScratch{})
		s.settle()
		g.flush(g.message("alice", "again"))
		for _, session := range []godwit.SessionID{1, 2, 4} {
			s.wantTold("added again", session, "g:gch from 7", "8 again")
		}
	})
}

// While a worker reads, entries come and members go.
func TestEntriesThatComeWhileASessionCatchesUp(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		g := s.handChannel("gch", 0, "bob", "carol") // 3
		c, scratch := &s.service.channels, &flushScratch{}
		user := map[godwit.SessionID]godwit.UserID{1: "bob", 2: "carol"}
		f := c.enter(1, user[1], g.log())
		if c.settle(f, 3, 1); c.enter(1, user[1], g.log()) != nil {
			t.Error("entered twice")
		}
		c.leave(1)
		f = c.enter(1, user[1], g.log())
		four := g.message("alice", "four")
		c.entered(&four, scratch)
		if c.settle(f, 3, 1) {
			t.Error("live without an entry that was heard of")
		}
		five := g.message("alice", "five")
		if !c.settle(f, 5, 1) { // read five before its flush
			t.Error("not settled")
		}
		c.entered(&five, scratch)
		six := g.message("alice", "six")
		c.entered(&six, scratch)
		s.wantTold("read ahead of the flush", 1, "6 six")

		carol := c.enter(2, user[2], g.log())
		gone := g.leave("carol")
		c.entered(&gone, scratch)
		if c.settle(carol, 7, 2) {
			t.Error("live after the membership ended")
		}
		c.end(carol, 7)
		seven := g.message("alice", "eight")
		c.entered(&seven, scratch)
		s.wantTold("left while catching up", 2)
		s.wantTold("another", 1, "7 remove [carol]", "8 eight")
	})
}

func TestAnEntryNobodyWasToldOfClosesTheSessions(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		g := s.handChannel("gch", 0, "bob")
		s.connect(1, godwit.Hello{User: "bob"})
		s.told(1)
		g.flush(g.message("alice", "three"))
		g.message("alice", "lost")
		g.flush(g.message("alice", "five"))
		s.wantTold("a hole", 1, "3 three")
		if s.edge.closed[1] != godwit.CloseOverloaded {
			t.Errorf("closed %v", s.edge.closed)
		}
	})
}

func TestASessionThatIsNotConnectedYetFollowsWhenItIs(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		g := s.handChannel("gch", 0, "bob")
		s.router.registered = func(godwit.SessionID) {
			s.service.channels.begins(&channelEffect{user: []byte("bob"), group: []byte("gch"), log: g.log(), from: 2}, &flushScratch{})
			s.wantTold("before", 1)
			g.userRow("bob", func(u *userRow) { u.channels = 0 }) // as if it had been read before the pointer came
		}
		s.service.Connect(1, godwit.Hello{User: "bob", Device: "d1"})
		s.settle()
		s.wantTold("after", 1, "g:gch from 2")
		g.flush(g.message("alice", "three"))
		s.wantTold("live", 1, "3 three")
	})
}

// Where a session begins to follow a channel, the first task says.
func TestTasksOfASessionStayInOrder(t *testing.T) {
	var c channels
	c.init(&Service{})
	for session := range godwit.SessionID(100) {
		for range 3 {
			c.follow(&followTask{session: session})
		}
	}
	for _, tasks := range c.tasks {
		if len(tasks) == 0 || len(tasks)%3 != 0 {
			t.Fatalf("%d tasks of 300 with one worker", len(tasks))
		}
		for len(tasks) > 0 {
			first := <-tasks
			if second, third := <-tasks, <-tasks; second.session != first.session || third.session != first.session {
				t.Errorf("tasks of session %d are apart", first.session)
			}
		}
	}
}
