package chat

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/godwit-im/godwit"
)

// faults loses answers and whole commands of the store, about one in so many.
func (s *served) faults(random *rand.Rand, oneIn uint64) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if oneIn == 0 {
		s.store.lose, s.store.dropped = nil, nil
		return
	}
	salt := random.Uint64()
	mixed := func(n, by uint64) bool { return (n^salt)*by>>33%oneIn == 0 }
	s.store.lose = func(n uint64) bool { return mixed(n, 0x9E3779B97F4A7C15) }
	s.store.dropped = func(n uint64) bool { return mixed(n, 0xC2B2AE3D27D4EB4F) }
}

// fanTalk lets users talk in a group, and come and go, without waiting for answers.
func (s *served) fanTalk(random *rand.Rand, group string, users []string, id *uint64) {
	user := func() string { return users[random.IntN(len(users))] }
	*id++
	f := &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Group: []byte(group)}}
	switch random.IntN(8) {
	case 0:
		f.Group.Do, f.Group.Users = []byte(godwit.GroupAdd), byteLists([]string{user(), user()})
	case 1:
		f.Group.Do, f.Group.Users = []byte(godwit.GroupRemove), byteLists([]string{user()})
	case 2:
		f.Group.Do = []byte(godwit.GroupLeave)
	default:
		f = sendFrame("g:"+group, fmt.Sprint("m", *id), "hi")
	}
	f.ID = *id
	from := user()
	if f.Kind == godwit.KindGroup && string(f.Group.Do) != godwit.GroupLeave || *id%3 == 0 {
		from = "alice"
	}
	s.service.Request(1, godwit.UserID(from), f)
	if random.IntN(3) == 0 {
		s.settle()
	}
}

// Every command may be lost, or applied without an answer; the process may end at
// any time; lists and entries may be forgotten. Nothing gets lost or comes twice.
func TestFanoutSurvivesFaults(t *testing.T) {
	messages, channels := 0, 0 // of all seeds: in one of them little may get through
	for seed := range uint64(12) {
		groups := []int{1, 8}[seed%2]
		change := func(c *Config) { c.Policy.ChannelAbove = 8 + 100*int(seed%3) }
		bubble(t, groups, change, func(s *served) {
			random := rand.New(rand.NewPCG(seed, 1))
			users := manyUsers(16)
			g := s.createGroup("alice", "c1", "Friends", users[:6]...)
			id, next := string(g.Group), uint64(100000)
			for range 12 {
				s.tight(seed%4 == 3)
				s.faults(random, 2+random.Uint64N(6))
				for range random.IntN(25) {
					s.fanTalk(random, id, users, &next)
				}
				s.tick(random.IntN(5))
				if random.IntN(4) == 0 {
					s.faults(random, 0)
					s.close()
					s.store = s.store.replica()
					s.start(change)
				}
			}
			s.faults(random, 0)
			s.tick(2 * backoffTicks)
			s.fannedOut(id)
			checkGroupCounts(t, s.store, id)
			checkGroups(t, s.store)
			row := groupOfStore(t, s.store, id)
			messages += int(row.messages)
			switch {
			case row.boundary == 0:
			case seed%3 == 0:
				channels++
			default:
				t.Errorf("seed %d: %+v", seed, row)
			}
		})
	}
	if messages < 12*10 || channels == 0 {
		t.Errorf("%d messages were stored, %d groups became channels", messages, channels)
	}
}

// tight leaves no room for lists and entries.
func (s *served) tight(yes bool) {
	f := s.service.fanouts
	f.mu.Lock()
	defer f.mu.Unlock()
	if yes {
		f.listBytesMax, f.bufferBytesMax = 1, fanEntryBytes*3
	}
}

// A raft group that answers nothing does not delay the members of others.
func TestFanoutToOneRaftGroupDoesNotDelayOthers(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", manyUsers(30)...)
		id := string(g.Group)
		s.fannedOut(id)
		far := s.away(id)
		dst := s.store.Group(far.Partition())
		thaw := s.freeze(dst)
		operator := "nobody"
		for i := range 100 {
			f := sendFrame(string(g.Conv), fmt.Sprint(operator, i), "hi")
			f.ID = uint64(5000 + i)
			s.service.Request(1, "alice", f)
			s.settle()
		}
		s.tick(100)
		late := 0
		for _, name := range append(manyUsers(30), "alice") {
			user := godwit.UserID(name)
			got, _, _ := pointersOf(t, s.store, user, id)
			if s.store.Group(user.Partition()) == dst {
				late++
				if len(got) != 1 {
					t.Errorf("%s of the frozen group has %d", user, len(got))
				}
			} else if len(got) != 101 {
				t.Errorf("%s has %d of 101", user, len(got))
			}
		}
		if late == 0 {
			t.Error("nobody is in the frozen group")
		}
		thaw()
		s.fannedOut(id)
	})
}

// usersAt returns users whose logs lie in one raft group.
func (s *served) usersAt(group, n int) (users []string) {
	for i := 0; len(users) < n; i++ {
		name := fmt.Sprintf("user%06d", i)
		if s.store.Group(godwit.UserID(name).Partition()) == group {
			users = append(users, name)
		}
	}
	return users
}

// Rounds of more members than one command takes, some of which get lost.
func TestFanoutToManyMembers(t *testing.T) {
	bubble(t, 1, func(c *Config) { c.Policy.ChannelAbove = 1000 }, func(s *served) {
		g := s.createGroup("alice", "c1", "Many", manyUsers(900)...)
		for i := range 6 {
			f := sendFrame(string(g.Conv), fmt.Sprint("m", i), "hi")
			f.ID = uint64(5000 + i)
			s.service.Request(1, "alice", f)
			s.settle()
			s.faults(rand.New(rand.NewPCG(uint64(i), 1)), 2)
		}
		s.tick(backoffTicks)
		s.faults(rand.New(rand.NewPCG(1, 1)), 0)
		s.tick(2 * backoffTicks)
		s.fannedOut(string(g.Group))
	})
}

// Many come to a channel and go again before the first is told: each in order.
func TestFanoutToManyWhoComeAndGo(t *testing.T) {
	bubble(t, 8, smallChannels, func(s *served) {
		g := s.createGroup("alice", "c1", "Many", manyUsers(12)...)
		id := string(g.Group)
		s.fannedOut(id)
		far := s.store.Group(s.away(id).Partition())
		users := s.usersAt(far, 400)[20:]
		thaw := s.freeze(far)
		for i := range uint64(3) {
			for j, do := range []string{godwit.GroupAdd, godwit.GroupRemove} {
				f := &godwit.ClientFrame{ID: 5000 + 2*i + uint64(j), Kind: godwit.KindGroup}
				f.Group = godwit.Group{Do: []byte(do), Group: []byte(id), Users: byteLists(users)}
				s.service.Request(1, "alice", f)
				s.settle()
			}
		}
		if row := groupOfStore(t, s.store, id); row.members != 13 || row.head != 8 {
			t.Fatalf("row %+v", row)
		}
		s.faults(rand.New(rand.NewPCG(1, 1)), 2)
		thaw()
		s.tick(backoffTicks)
		s.faults(rand.New(rand.NewPCG(1, 1)), 0)
		s.tick(2 * backoffTicks)
		s.fannedOut(id)
		checkGroupCounts(t, s.store, id)
	})
}

// A lane that takes for done what is not is told so by the members' logs.
func TestFanoutGoesBackToAGap(t *testing.T) {
	bubbles(t, nil, func(s *served) {
		g := s.createGroup("alice", "c1", "Friends", manyUsers(30)...)
		id := string(g.Group)
		s.fannedOut(id)
		f := s.service.fanouts
		f.mu.Lock()
		for i := range f.groups[id].lanes {
			f.groups[id].lanes[i].through++
		}
		f.mu.Unlock()
		for i := range uint64(2) {
			frame := sendFrame(string(g.Conv), fmt.Sprint("m", i), "hi")
			frame.ID = 5000 + i
			s.service.Request(1, "alice", frame)
			s.settle()
		}
		s.tick(backoffTicks)
		s.fannedOut(id)
	})
}
