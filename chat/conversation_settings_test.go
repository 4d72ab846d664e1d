package chat

import (
	"testing"

	"github.com/godwit-im/godwit"
)

func TestConversationSettingsByTranscript(t *testing.T) {
	runTranscripts(t, "settings_*", func(c *Config) { c.Policy.ChannelAbove = 3 })
}

// A lane's rows name the sender's entries: while they have to be forwarded, the
// sender can't erase them.
func TestDeletingWaitsForTheLane(t *testing.T) {
	bubble(t, 8, nil, func(s *served) {
		alice, bob, lane := usersApart(8)
		thaw := s.freeze(s.store.Group(lane.dst))
		s.send(alice, string(bob), "c1", "one")
		f := &godwit.ClientFrame{Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{Conv: []byte(bob), Delete: 1}}
		s.wantError(s.ask(alice, f), godwit.ErrUnavailable)
		s.restart()
		s.settle()
		thaw()
		s.wantLog(bob, "1 "+string(alice)+" u:"+string(alice)+" one")
		if r := s.ask(alice, f); r.Kind != godwit.KindDone {
			t.Errorf("answer %+v", r.Error)
		}
	})
}
