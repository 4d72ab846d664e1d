package node

import (
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/presence"
	"github.com/godwit-im/godwit/router/live"
)

// Whom a user's presence is shown to, see PresenceConfig.
const (
	PresenceContacts = "contacts"
	PresenceAll      = "all"
)

func (n *Node) newPresence(router *live.Router, clients chat.Edge, rights presence.Rights) (*presence.Hub, error) {
	return presence.New(presence.Config{
		Router:    router,
		Edge:      clients,
		Rights:    rights,
		Debounce:  time.Duration(n.cfg.Presence.Debounce),
		PerSecond: int(n.cfg.Presence.PerS),
		ListMax:   max(1, int(n.cfg.Limits.Watch)),
		Clock:     n.now,
	})
}

// presenceChanged is called by the router, which is made first and is silent until
// there are clients.
func (n *Node) presenceChanged(user godwit.UserID, online bool, nowMS int64) {
	n.presence.Changed(user, online, nowMS)
}

func presenceSeries() []series {
	return []series{
		counter("presence_frames_total", "Presence frames sent, each to one session.", func(s *snapshot) float64 { return float64(s.presence.Sent) }),
		counter("presence_hidden_total", "Among them: a user who may be seen no more is shown as offline.", func(s *snapshot) float64 { return float64(s.presence.Hidden) }),
		counter("presence_flips_total", "Changes of watched users that are shown.", func(s *snapshot) float64 { return float64(s.presence.Flips) }),
		counter("presence_flips_suppressed_total", "Changes of watched users that did not last and are not shown.", func(s *snapshot) float64 { return float64(s.presence.Suppressed) }),
		counter("presence_frames_suppressed_total", "Frames that were undone while they waited for the budget.", func(s *snapshot) float64 { return float64(s.presence.Withdrawn) }),
		counter("presence_limited_total", "Ticks of 200 ms at whose end the budget of an edge process left frames waiting.", func(s *snapshot) float64 { return float64(s.presence.Limited) }),
		gauge("presence_frames_waiting", "Frames that wait for the budget.", func(s *snapshot) float64 { return float64(s.presence.Waiting) }),
		gauge("presence_lists", "Devices that watch somebody.", func(s *snapshot) float64 { return float64(s.presence.Lists) }),
		gauge("presence_watches", "Users on the lists of all devices.", func(s *snapshot) float64 { return float64(s.presence.Watches) }),
	}
}
