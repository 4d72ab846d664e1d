package chat

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/godwit-im/godwit"
)

func TestConnectWarmsTheNewestConversationsOnce(t *testing.T) {
	bubble(t, 1, nil, func(s *served) {
		for peer := range 8 {
			s.send("alice", fmt.Sprint("peer", peer), "c", "x") // sequences 1 to 8
		}
		s.send("peer2", "alice", "c", "again") // 9
		for session := range 3 {
			s.service.Connect(godwit.SessionID(session+1), godwit.Hello{User: "alice", Device: fmt.Sprint("device", session), Resume: false, Epoch: "", ResumeSeq: 0})
		}
		synctest.Wait()
		g := s.store.groups[0]
		want := []godwit.Newest{{Conv: 3, Seq: 9}, {Conv: 8, Seq: 8}, {Conv: 7, Seq: 7}, {Conv: 6, Seq: 6}, {Conv: 5, Seq: 5}}
		got := g.warm[godwit.NewLogID(godwit.UserID("alice").Partition(), 1)]
		if !slices.Equal(got, want) || g.warmed != 1 {
			t.Errorf("warmed %v, %d times, want %v once", got, g.warmed, want)
		}
		s.service.Connect(9, godwit.Hello{User: "nobody", Device: "web", Resume: false, Epoch: "", ResumeSeq: 0})
		synctest.Wait()
		if g.warmed != 1 {
			t.Error("a user without a log was warmed")
		}
	})
}
