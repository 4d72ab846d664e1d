package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// watcher is a user who hears of those he watches, by either transport.
type watcher interface {
	watch(users ...string) []godwit.PresenceItem
	// heard returns the next frame of presence or typing.
	heard() godwit.Ephemeral
}

type socketWatcher struct{ *wire }

func (w socketWatcher) watch(users ...string) []godwit.PresenceItem {
	return w.ask(watchFrame(users)).Presence.Users
}

func (w socketWatcher) heard() godwit.Ephemeral {
	for {
		f, ok := w.next()
		if !ok {
			w.t.Fatal("the session ended")
		}
		if f.Kind == godwit.KindEphemeral {
			return f.Ephemeral
		}
	}
}

type pollWatcher struct {
	*poller
	t     testing.TB
	queue []godwit.Ephemeral
}

func (p *pollWatcher) watch(users ...string) []godwit.PresenceItem {
	return p.call(p.t, watchFrame(users))[0].Presence.Users
}

func (p *pollWatcher) heard() godwit.Ephemeral {
	for len(p.queue) == 0 {
		frames, ok := p.next(p.t.Context(), p.t, 50)
		if !ok {
			p.t.Fatal("the poll broke off")
		}
		for _, f := range frames {
			if f.Kind == godwit.KindEphemeral {
				p.queue = append(p.queue, f.Ephemeral)
			}
		}
	}
	first := p.queue[0]
	p.queue = p.queue[1:]
	return first
}

// awaitEntry polls until an entry of the log has come, and so has the cursor.
func (p *pollWatcher) awaitEntry() {
	p.t.Helper()
	for {
		frames, ok := p.next(p.t.Context(), p.t, 50)
		if !ok {
			p.t.Fatal("the poll broke off")
		}
		if slices.ContainsFunc(frames, func(f godwit.ServerFrame) bool { return f.Kind == godwit.KindEvent }) {
			return
		}
	}
}

// whileHeld begins to listen and returns, when held says so, who waits for the frame.
func (p *pollWatcher) whileHeld(held func()) func() godwit.Ephemeral {
	heard := make(chan godwit.Ephemeral, 1)
	go func() { heard <- p.heard() }()
	held()
	return func() godwit.Ephemeral { return <-heard }
}

// pollsHeld counts them in all processes that hold clients.
func pollsHeld(t testing.TB, s *server) (n float64) {
	if edges := edgesOf(t, s.ops); len(edges) > 0 {
		for _, e := range edges {
			n += metric(t, e.Ops, "godwit_edge_polls")
		}
		return n
	}
	return metric(t, s.ops, "godwit_edge_polls")
}

func watchFrame(users []string) godwit.ClientFrame {
	f := godwit.ClientFrame{Kind: godwit.KindPresence}
	f.Presence.HasWatch = true
	for _, user := range users {
		f.Presence.Watch = append(f.Presence.Watch, []byte(user))
	}
	return f
}

// TestWatchersHearByEitherTransport of one process, and of two that hold clients.
func TestWatchersHearByEitherTransport(t *testing.T) {
	t.Parallel()
	for _, edges := range []int{0, 2} {
		t.Run(fmt.Sprint("edges", edges), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "", fmt.Sprint("GODWIT_EDGES=", edges), "GODWIT_PRESENCE_DEBOUNCE=500ms")
			s.start()
			tokens := s.tokens("alice", "bob", "carol")
			alice, _ := connectWire(t, s.url(), godwit.EncodingJSON, tokens["alice"], "phone", godwit.Resume{})
			poll := &pollWatcher{poller: &poller{base: "http://" + s.listen, token: tokens["carol"], device: "web"}, t: t}
			poll.poller.next(t.Context(), t, 0)
			for user, w := range map[string]watcher{"alice": socketWatcher{alice}, "carol": poll} {
				bob, _ := connectWire(t, s.url(), godwit.EncodingProto, tokens["bob"], "tv", godwit.Resume{})
				if reply := bob.send(user, "c-"+user, "we know each other"); reply.Kind != godwit.KindSend {
					t.Fatalf("%+v", reply.Error)
				}
				if user == "carol" {
					poll.awaitEntry() // else the poll that is seen held may be one that it ends
				}
				if got := w.watch("bob", "stranger"); len(got) != 2 || !got[0].Online || got[1] != (godwit.PresenceItem{User: "stranger"}) {
					t.Fatalf("%s watches %+v", user, got)
				}
				typing := w.heard
				if user == "carol" { // between two polls it would be lost
					typing = poll.whileHeld(func() { until(t, "a poll is held", func() bool { return pollsHeld(t, s) == 1 }) })
				}
				bob.writeFrame(&godwit.ClientFrame{Kind: godwit.KindTyping, Typing: godwit.Typing{Conv: []byte("u:" + user)}})
				if got := typing(); !got.IsTyping || got.Typing != (godwit.TypingNotice{Conv: "u:bob", User: "bob"}) {
					t.Errorf("%s heard %+v", user, got)
				}
				bob.conn.WriteClose(1000, nil)
				<-bob.closed
				if got := w.heard(); got.IsTyping || got.Presence.User != "bob" || got.Presence.Online || got.Presence.LastSeen == 0 {
					t.Errorf("%s heard %+v", user, got)
				}
				connectWire(t, s.url(), godwit.EncodingProto, tokens["bob"], "tv", godwit.Resume{})
				if got := w.heard(); got.IsTyping || got.Presence.User != "bob" || !got.Presence.Online {
					t.Errorf("%s heard %+v", user, got)
				}
				w.watch()
			}
			if n := metric(t, s.ops, "godwit_presence_frames_total"); n != 4 {
				t.Errorf("%v frames of presence", n)
			}
		})
	}
}
