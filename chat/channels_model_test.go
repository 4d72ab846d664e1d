package chat

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// walker is a client that keeps what docs/protocol.md tells it to: a cursor of its
// log, and of each group the newest sequence it has. It counts what it is shown.
type walker struct {
	s      *served
	user   godwit.UserID
	conv   string
	online godwit.SessionID // 0: away

	cursor godwit.Seq
	place  godwit.Seq // in the group
	has    bool       // a place
	own    []godwit.Seq
	told   []godwit.Seq
	looked []godwit.Seq // in the history of a membership that ended while away
	resets int
}

func (r *walker) connect(session godwit.SessionID) {
	h := godwit.Hello{User: r.user, Device: fmt.Sprint("d", session), Resume: true, ResumeSeq: r.cursor}
	if r.has {
		h.Channels = []godwit.ChannelPlace{{Conv: []byte(r.conv), GSeq: r.place}}
	}
	r.online = session
	r.s.service.Connect(session, h)
}

func (r *walker) disconnect() {
	r.take()
	r.s.service.Disconnect(r.online, r.user, fmt.Sprint("d", r.online))
	r.online = 0
}

// take reads what the session was told and what is new in the log.
func (r *walker) take() {
	r.s.t.Helper()
	r.s.settle()
	r.s.edge.mu.Lock()
	hints := r.s.edge.hints[r.online]
	r.s.edge.hints[r.online] = nil
	r.s.edge.mu.Unlock()
	for _, hint := range hints {
		if text, ok := strings.CutPrefix(hint, "tell "); ok {
			r.takeTold(text)
		}
	}
	for {
		a := r.s.ask(r.user, &godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: r.cursor, Limit: 3}})
		if a.Kind != godwit.KindSync {
			r.s.t.Fatalf("sync of %s: %+v", r.user, a.Error)
		}
		if len(a.Sync.Entries) == 0 {
			break
		}
		for i := range a.Sync.Entries {
			e := &a.Sync.Entries[i]
			if e.Seq != r.cursor+1 {
				r.s.t.Fatalf("log of %s: %d after %d", r.user, e.Seq, r.cursor)
			}
			r.cursor = max(e.Seq, e.SkipTo)
			if e.GSeq != 0 {
				r.leaves(e)
				r.own = append(r.own, e.GSeq)
				r.move(e.GSeq)
			}
		}
	}
}

// leaves: who was away when his membership of a channel ended looks what came
// before that.
func (r *walker) leaves(e *godwit.Entry) {
	r.s.t.Helper()
	if e.Kind != godwit.EntryGroup || len(r.own) == 0 || e.GSeq <= r.own[len(r.own)-1]+1 {
		return
	}
	last := r.own[len(r.own)-1]
	if do := e.Group.Do; do != godwit.GroupRemove && do != godwit.GroupLeave || !slices.Contains(e.Group.Users, r.user) {
		return
	}
	h, refusal := r.s.historyOf(r.user, godwit.History{Conv: []byte(r.conv), GAfter: last, HasGAfter: true})
	if refusal != nil || h.More {
		r.s.t.Fatalf("history of %s: %v %v", r.user, h, refusal)
	}
	for i := range h.Entries {
		if h.Entries[i].GSeq < e.GSeq {
			r.looked = append(r.looked, h.Entries[i].GSeq)
		}
	}
}

func (r *walker) move(to godwit.Seq) { r.place, r.has = max(r.place, to), true }

func (r *walker) takeTold(text string) {
	var f struct {
		Ev *struct {
			Seq, GSeq godwit.Seq
			Group     *struct{ Do string }
		}
		Channel *struct {
			GSeq  godwit.Seq
			Reset bool
		}
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil || f.Ev != nil && f.Ev.Seq != 0 {
		r.s.t.Fatalf("%s: %v", text, err)
	}
	switch {
	case f.Ev != nil:
		r.told = append(r.told, f.Ev.GSeq)
		r.move(f.Ev.GSeq)
	case f.Channel.Reset:
		r.resets++
		r.place = f.Channel.GSeq
	}
}

// check compares what the reader was shown with what he was a member for.
func (r *walker) check(group string) {
	r.s.t.Helper()
	if !slices.IsSorted(r.own) || len(slices.Compact(slices.Clone(r.own))) != len(r.own) {
		r.s.t.Errorf("%s: own log %v", r.user, r.own)
	}
	if told := slices.Clone(r.told); !slices.IsSorted(told) || len(slices.Compact(told)) != len(r.told) {
		r.s.t.Errorf("%s was told %v", r.user, r.told)
	}
	v := r.s.store.View(r.s.store.Group(godwit.GroupID(group).Partition()))
	g, _ := groupRowOf(v, []byte(group))
	m, _ := memberOf(v, []byte(group), []byte(r.user))
	v.Close()
	var want []godwit.Seq
	for seq := godwit.Seq(1); seq <= g.head; seq++ {
		if m.since != 0 && m.maySee(seq, false) {
			want = append(want, seq)
		}
	}
	got := slices.Concat(r.own, r.told, r.looked)
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) || r.resets != 0 {
		r.s.t.Errorf("%s was shown %v, his memberships %v, with %d resets (own %v, told %v)", r.user, got, want, r.resets, r.own, r.told)
	}
}

// Whatever is sent, whoever comes and goes, and wherever a group becomes a
// channel: members are shown each entry of their memberships, and nobody another.
func TestReadersAreShownTheirMembershipsAndNothingElse(t *testing.T) {
	for _, groups := range []int{1, 8} {
		for seed := range uint64(15) {
			t.Run(fmt.Sprintf("%d groups, %d", groups, seed), func(t *testing.T) {
				bubble(t, groups, func(c *Config) { c.Policy.ChannelAbove = 5 }, func(s *served) { readersWalk(s, seed) })
			})
		}
	}
}

func readersWalk(s *served, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	reply := s.createGroup("alice", "c1", "Walk", "user0", "user1")
	group, conv := string(reply.Group), string(reply.Conv)
	var readers []*walker
	for i := range 8 {
		readers = append(readers, &walker{s: s, user: godwit.UserID(fmt.Sprint("user", i)), conv: conv})
	}
	id, session := uint64(1_000_000), godwit.SessionID(1000)
	request := func(user godwit.UserID, f *godwit.ClientFrame) {
		id++
		s.service.Request(9, user, withID(id, f))
	}
	for step := range 150 {
		r := readers[random.IntN(len(readers))]
		switch random.IntN(8) {
		case 0, 1, 2:
			request(r.user, sendFrame(conv, fmt.Sprint("m", step), "x"))
		case 3:
			request("alice", sendFrame(conv, fmt.Sprint("m", step), "x"))
		case 4:
			do := godwit.GroupAdd
			if random.IntN(3) == 0 {
				do = godwit.GroupRemove
			}
			request("alice", &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{
				Do: []byte(do), Group: []byte(group), Users: [][]byte{[]byte(r.user)},
			}})
		case 5:
			if random.IntN(4) == 0 {
				request(r.user, &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(godwit.GroupLeave), Group: []byte(group)}})
			}
		case 6:
			if session++; r.online == 0 {
				r.connect(session)
			} else {
				r.disconnect()
			}
		case 7:
			s.settle()
		}
	}
	for _, r := range readers {
		s.settle()
		if r.online == 0 {
			session++
			r.connect(session)
			s.settle()
		}
	}
	for _, r := range readers {
		r.take()
		r.check(group)
	}
}
