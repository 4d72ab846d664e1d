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
			if row.messages < 10 || (seed%3 == 0) != (row.boundary != 0) {
				t.Errorf("seed %d: %+v", seed, row)
			}
		})
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
