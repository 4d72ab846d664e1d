package node

import (
	"context"
	"errors"
	"path/filepath"
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

// LastSeenFile is the file in the data directory that says when users were last seen.
const LastSeenFile = "last-seen"

// openLastSeen tells the router what an earlier process knew, and keeps what changes.
func (n *Node) openLastSeen(router *live.Router) {
	n.seen = live.OpenJournal(live.JournalConfig{
		Router: router, Path: filepath.Join(n.cfg.Data, LastSeenFile), Logger: n.logger.With("tier", "router"),
	})
	n.seen.Start()
}

// forgetLastSeen is for a user whose account was erased.
func (n *Node) forgetLastSeen(ctx context.Context, user godwit.UserID) error {
	err := n.seen.Forget(ctx, user)
	n.presence.Forget(user) // after the router, which it asks
	if n.directory != nil {
		err = errors.Join(err, n.directory.Forget(ctx, string(user)))
	}
	return err
}

func presenceSeries() []series {
	return []series{
		gauge("last_seen_users", "Users of whom it is known when they were last seen.", func(s *snapshot) float64 { return float64(s.seen.Users) }),
		gauge("last_seen_unwritten", "Users who came or went since the file of last seen times was written.", func(s *snapshot) float64 { return float64(s.seen.Unwritten) }),
		gauge("last_seen_file_bytes", "Size of that file.", func(s *snapshot) float64 { return float64(s.seen.Bytes) }),
		counter("last_seen_writes_total", "Writes of changes to it.", func(s *snapshot) float64 { return float64(s.seen.Writes) }),
		counter("last_seen_rewrites_total", "Times that it was written anew as a whole.", func(s *snapshot) float64 { return float64(s.seen.Rewrites) }),
		counter("last_seen_failures_total", "Writes of it that failed; what they had is in a later one.", func(s *snapshot) float64 { return float64(s.seen.Failures) }),
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
