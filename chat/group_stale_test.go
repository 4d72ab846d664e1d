package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// leaderOf makes commands about groups of w, as the service does.
func leaderOf(w *world) *Service {
	s := &Service{cfg: Config{Store: w.store}}
	_ = s.cfg.Policy.validate()
	return s
}

// looked is a command as of this moment.
func (w *world) looked(by, do string, users ...string) *groupChangeCommand {
	w.t.Helper()
	t := &groupTask{service: leaderOf(w), user: godwit.UserID(by)}
	f := godwit.Group{Do: []byte(do), Group: []byte(testGroup), Users: byteLists(users), Role: []byte(godwit.RoleOwner)}
	if refusal := t.take(&f); refusal != nil {
		w.t.Fatal(refusal)
	}
	c, done, refusal := t.command(t.users, 0)
	if refusal != nil || done != nil {
		w.t.Fatalf("%s: %v %+v", do, refusal, done)
	}
	return c
}

func (w *world) changed(c *groupChangeCommand) outcome {
	w.t.Helper()
	return w.runGroup(testGroup, c.append(nil, 0))
}

func TestStalePlacesAreRefusedAndLookedUpAnew(t *testing.T) {
	f := func(name string, stale *groupChangeCommand, w *world, meanwhile ...*groupChangeCommand) {
		t.Helper()
		for _, c := range meanwhile {
			w.changed(c).mustBe(t, nil)
		}
		before := w.store.digests()
		w.changed(stale).mustBe(t, godwit.ErrUnavailable)
		if !slices.Equal(before, w.store.digests()) {
			t.Errorf("%s: a refused command changed the state", name)
		}
		checkGroups(t, w.store)
	}
	w := groupWorld(t, 1)
	add := w.looked("alice", godwit.GroupAdd, "carol", "dave")
	for i := range 4 { // as many as the buckets it names can take
		w.changed(w.looked("alice", godwit.GroupAdd, manyUsers((i + 1) * bucketMembers)[i*bucketMembers:]...)).mustBe(t, nil)
	}
	f("add", add, w)
	w.changed(w.looked("alice", godwit.GroupAdd, "carol", "dave")).mustBe(t, nil)

	// bob comes back, and is listed elsewhere
	remove, leave := w.looked("alice", godwit.GroupRemove, "bob"), w.looked("bob", godwit.GroupLeave)
	role := w.looked("alice", godwit.GroupRole, "bob")
	w.changed(remove).mustBe(t, nil)
	back := w.looked("alice", godwit.GroupAdd, "bob")
	f("remove", remove, w, back)
	f("leave", leave, w)
	f("role", role, w)

	// the owner is another, or none
	toCarol, toDave := w.looked("alice", godwit.GroupRole, "carol"), w.looked("alice", godwit.GroupRole, "dave")
	w.changed(toCarol).mustBe(t, nil)
	w.changed(toDave).mustBe(t, godwit.ErrForbidden)
	toDave.operator = true
	f("owner", toDave, w)
}

// Requests that come at once look at the same places; each is done.
func TestManyWhoJoinAtOnceAllFindRoom(t *testing.T) {
	const n = 200
	bubble(t, 8, nil, func(s *served) {
		g := s.mustGroup(s.askGroup("alice", godwit.GroupCreate, "", func(g *godwit.Group) { g.Join = []byte(godwit.JoinOpen) }))
		for i, user := range manyUsers(n) {
			s.service.Request(1, godwit.UserID(user), &godwit.ClientFrame{ID: uint64(1000 + i), Kind: godwit.KindGroup, Group: godwit.Group{
				Do: []byte(godwit.GroupJoin), Group: []byte(g.Group),
			}})
		}
		s.settle()
		for i := range n {
			if r := s.edge.replies[uint64(1000+i)]; len(r) != 1 || r[0].Kind != godwit.KindGroup || r[0].Group.Role != godwit.RoleMember {
				t.Fatalf("join %d: %+v", i, r)
			}
		}
		if got := s.mustGroup(s.askGroup("alice", godwit.GroupInfo, string(g.Group), nil)); got.Count != n+1 {
			t.Errorf("%d members", got.Count)
		}
		checkGroups(t, s.store)
	})
}

// A group of any size costs a change the buckets it concerns.
func TestLargeGroupTouchesOnlyTheBucketsOfAChange(t *testing.T) {
	w := groupWorld(t, 1)
	users := manyUsers(100_000)
	w.store.groups[0].commands = nil
	buckets := func(c *groupChangeCommand) (n int) {
		w.store.machine.Reads(c.append(nil, 0), func(key []byte) {
			if key[2] == rowBucket {
				n++
			}
		})
		return n
	}
	level := func(s *settings) { level2(s); s.policy.membersMax = 1 << 20 }
	w = newWorld(t, 1, level)
	create := groupCreateCommand{by: []byte("alice"), group: []byte(testGroup), users: usersOf("bob")}
	w.runGroup(testGroup, create.append(nil, 0)).mustBe(t, nil)
	for part := range slices.Chunk(users, changeUsersMax) {
		c := w.looked("alice", godwit.GroupAdd, part...)
		if n := buckets(c); n > changeUsersMax/bucketMembers+4 {
			t.Fatalf("adding %d users names %d buckets", len(part), n)
		}
		w.changed(c).mustBe(t, nil)
	}
	if o := w.changed(w.looked("alice", godwit.GroupAdd, "zoe")); o.extra.(*groupState).row.members != 100_003 {
		t.Errorf("outcome %+v", o)
	}
	for _, c := range []*groupChangeCommand{
		w.looked("alice", godwit.GroupAdd, "carol"), w.looked("alice", godwit.GroupRemove, users[50_000]),
		w.looked(users[99_999], godwit.GroupLeave), w.looked("alice", godwit.GroupRole, users[7]),
	} {
		if n := buckets(c); n > 4 {
			t.Errorf("%s of one user names %d buckets", c.do, n)
		}
		w.changed(c).mustBe(t, nil)
	}
	checkGroups(t, w.store)
}

func TestFormerMemberSeesWhatWasHis(t *testing.T) {
	w := groupWorld(t, 1) // 1 create, 2 a message
	say := func(n int) {
		block := appendGroupBlock(appendGroupSendHead(nil, 0, false, 0), []byte("alice"), []byte(testGroup), []byte(fmt.Sprint("n", n)), nil, nil, true)
		w.runGroup(testGroup, block).mustBe(t, nil)
	}
	say(3)
	w.changed(w.looked("alice", godwit.GroupRemove, "bob")).mustBe(t, nil) // 4
	say(5)
	see := func(all bool, want string) {
		t.Helper()
		v := w.store.View(0)
		defer v.Close()
		m, _ := memberOf(v, []byte(testGroup), []byte("bob"))
		got := ""
		for gseq := range godwit.Seq(9) {
			if m.maySee(gseq+1, all) {
				got += fmt.Sprint(gseq + 1)
			}
		}
		if got != want {
			t.Errorf("bob sees %s, want %s", got, want)
		}
	}
	see(false, "1234")
	see(true, "1234")
	w.changed(w.looked("alice", godwit.GroupAdd, "bob")).mustBe(t, nil) // 6
	say(7)
	see(false, "12346789")
	see(true, "123456789")
	w.changed(w.looked("bob", godwit.GroupLeave)).mustBe(t, nil) // 8
	say(9)
	see(false, "1234678")
	see(true, "1234678")
}

func TestDissolvedGroupIsGoneForEverybody(t *testing.T) {
	const n = 2500
	bubble(t, 8, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Many", manyUsers(n)...)
		ctx, cancel := context.WithCancel(s.t.Context())
		if err := s.service.Dissolve(ctx, g.Group, "root"); err != nil {
			t.Fatal(err)
		}
		s.wantError(s.askGroup("alice", godwit.GroupInfo, string(g.Group), nil), godwit.ErrNotMember)
		s.wantError(s.ask("user000003", sendFrame(string(g.Conv), "m1", "hi")), godwit.ErrNotMember)
		if err := s.service.Dissolve(ctx, g.Group, "root"); !errors.Is(err, godwit.ErrNotMember) {
			t.Errorf("the second time: %v", err)
		}
		s.settle()
		checkGroups(t, s.store)
		if r := s.mustGroup(s.askGroup("user000003", godwit.GroupList, "", nil)); len(r.Groups) != 0 {
			t.Errorf("groups of a former member: %+v", r.Groups)
		}
		other := s.createGroup("alice", "c2", "Other", "bob")
		cancel()
		if err := s.service.Dissolve(ctx, other.Group, "root"); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
	})
}
