package chat

import (
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// welcome connects a session that resumes and returns its answer.
func (s *served) welcome(id godwit.SessionID, user godwit.UserID, epoch string, seq godwit.Seq) godwit.Welcome {
	s.t.Helper()
	s.service.Connect(id, godwit.Hello{User: user, Device: "phone", Resume: true, Epoch: epoch, ResumeSeq: seq})
	s.settle()
	if len(s.edge.welcomes[id]) != 1 {
		s.t.Fatalf("%d answers to connect", len(s.edge.welcomes[id]))
	}
	return s.edge.welcomes[id][0]
}

// restoredAs restarts the service over a store that says it was restored.
func (s *served) restoredAs(incarnation uint64) {
	s.t.Helper()
	s.close()
	s.store = s.store.replica()
	s.start(func(c *Config) { c.Restored = func() uint64 { return incarnation } })
}

func TestRestoreBeginsAnEpochOnce(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, _ := usersApart(8)
		s.send(alice, string(bob), "c1", "1")
		old := s.welcome(1, bob, "", 1)
		if !old.Resumed || old.Epoch == "" {
			t.Fatalf("before: %+v", old)
		}
		epochs := map[string]bool{old.Epoch: true}
		for _, incarnation := range []uint64{77, 78, 79, 80, 81, 82} {
			s.restoredAs(incarnation)
			before := old.Epoch
			for _, user := range []godwit.UserID{alice, bob} {
				w := s.welcome(1, user, before, 1)
				if w.Resumed || w.Reason != "epoch" || epochs[w.Epoch] {
					t.Errorf("%s resumes with the epoch of before: %+v", user, w)
				}
				if again := s.welcome(2, user, w.Epoch, 1); !again.Resumed {
					t.Errorf("%s does not resume in the new epoch: %+v", user, again)
				}
				delete(s.edge.welcomes, 1)
				delete(s.edge.welcomes, 2)
				old = w
			}
			epochs[old.Epoch] = true
			commands := s.store.digests()
			s.restoredAs(incarnation) // a plain restart of the restored store
			if w := s.welcome(1, bob, old.Epoch, 1); !w.Resumed || fmt.Sprint(commands) != fmt.Sprint(s.store.digests()) {
				t.Errorf("a restart began another epoch: %+v", w)
			}
			delete(s.edge.welcomes, 1)
		}
	})
}

// Both ends of a lane were restored as of one moment: what was on its way, and
// what was there but not yet acknowledged, arrives once.
func TestLaneGoesOnAfterAJointRestore(t *testing.T) {
	const epoch = testEpoch + 1
	w, bob, lane, items := laneWorld(t, 5)
	wantLast(t, w.forward(lane, testEpoch, 1, items[:3]), 3, false)
	w.ack(lane, 2) // item 3 is held and not acked, 4 and 5 are on their way
	late := w.store.replica()
	for g := range 8 {
		c := restoreCommand{epoch: epoch}
		if o := w.run(g, c.append(nil, homeOf(g, 8))); o.refusal != nil {
			t.Fatal(o.refusal)
		}
	}
	wantLast(t, w.forward(lane, testEpoch, 4, items[3:]), 3, true) // a late one of the time before
	wantLast(t, w.forward(lane, epoch, 3, items[2:4]), 4, false)
	wantLast(t, w.forward(lane, testEpoch, 5, items[4:]), 4, true)
	wantLast(t, w.forward(lane, epoch, 5, items[4:]), 5, false)
	wantBodies(t, w, bob, "12345")
	w.ack(lane, 5)
	if w.rows(rowOutbox) != 0 {
		t.Error("outbox rows stay")
	}
	// The other way round: only the source was restored, and numbers from 1.
	w.store = late
	c := restoreCommand{epoch: epoch}
	w.run(w.store.Group(lane.src), c.append(nil, homeOf(w.store.Group(lane.src), 8)))
	wantLast(t, w.forward(lane, epoch, 3, items[2:]), 0, false)
	wantLast(t, w.forward(lane, epoch, 1, items[3:]), 2, false)
	wantBodies(t, w, bob, "12345")
}
