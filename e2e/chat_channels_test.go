package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// listener is a member of a group with one client, and what it heard of it.
type listener struct {
	name     string
	cfg      client.Config
	client   *client.Client
	heard    []string // texts, in the order they came
	last     godwit.Seq
	channels bool // entries of the channel came
	gaps     []client.Discontinuity
}

func (m *listener) connect(ctx context.Context, t *testing.T) {
	t.Helper()
	m.client = dialSDK(ctx, t, m.cfg)
}

// leave goes offline and keeps its place.
func (m *listener) leave() {
	at := m.client.Position()
	m.cfg.Resume, m.cfg.Channels = &at, m.client.Channels()
	_ = m.client.Close()
}

// hear takes items until n messages of the group were heard in all. Places in the
// group's log only rise, whichever way an entry comes.
func (m *listener) hear(ctx context.Context, conv string, n int) error {
	for len(m.heard) < n {
		item, err := m.client.Receive(ctx)
		if err != nil {
			return fmt.Errorf("%s (%s) heard %d of %d, gaps %+v: %w", m.name, m.cfg.Transport, len(m.heard), n, m.gaps, err)
		}
		e := &item.Entry
		if item.Gap != nil {
			m.gaps = append(m.gaps, *item.Gap)
			continue
		}
		if e.IsSkip() || e.GSeq == 0 {
			continue
		}
		if e.GSeq <= m.last {
			return fmt.Errorf("%s: gseq %d after %d: %+v", m.name, e.GSeq, m.last, e)
		}
		m.last, m.channels = e.GSeq, m.channels || e.Seq == 0
		if e.Kind == godwit.EntryMessage && string(e.Msg.Conv) == conv {
			m.heard = append(m.heard, string(e.Msg.Body))
		}
	}
	return nil
}

// listeners are on every transport and encoding.
func listeners(s *server, names ...string) (list []*listener) {
	tokens := s.tokens(names...)
	for i, name := range names {
		cfg := sdkConfig(s.url(), tokens[name], client.Encoding(i%2))
		cfg.Device, cfg.Transport = "sdk", client.WebSocket
		if i%4 >= 2 {
			cfg.Transport = client.LongPoll
		}
		list = append(list, &listener{name: name, cfg: cfg})
	}
	return list
}

func wantHeard(t *testing.T, members []*listener, from, to int) {
	t.Helper()
	var want []string
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprint("message ", i))
	}
	for _, m := range members {
		if !slices.Equal(m.heard, want) || len(m.gaps) > 0 {
			t.Errorf("%s (%s) heard %q with %d gaps, want %d to %d", m.name, m.cfg.Transport, m.heard, len(m.gaps), from, to)
		}
	}
}

//tidy:long one story in its order
func testChannel(t *testing.T, env ...string) {
	s := newServer(t, "", append(env, "GODWIT_POLICY_CHANNEL_ABOVE=5")...)
	s.start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	members := listeners(s, "alice", "bob", "carol", "dave", "erin", "frank")
	alice, erin, frank := members[0], members[4], members[5]
	for _, m := range members {
		m.connect(ctx, t)
	}
	group, err := alice.client.CreateGroup(ctx, client.NewGroup{Name: "Chess", Members: []godwit.UserID{"bob", "carol", "dave", "erin"}})
	if err != nil {
		t.Fatal(err)
	}
	conv := string(group.Conv)
	sent := 0
	say := func(n int) {
		t.Helper()
		for range n {
			if _, err := alice.client.Send(ctx, conv, client.Message{Text: fmt.Sprint("message ", sent)}); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	hear := func(n int, who ...*listener) {
		t.Helper()
		failures := make(chan error, len(who))
		for _, m := range who {
			go func() { failures <- m.hear(ctx, conv, n) }()
		}
		for range who {
			if err := <-failures; err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	say(10)
	hear(10, members[:5]...)
	erin.leave() // she misses the end of the group and the beginning of the channel
	say(5)
	if _, err := alice.client.AddMembers(ctx, conv, "frank"); err != nil {
		t.Fatal(err)
	}
	if info, err := alice.client.GroupInfo(ctx, conv); err != nil || !info.Channel || info.Count != 6 {
		t.Fatalf("with 6 members: %+v, %v", info, err)
	}
	say(15)
	hear(30, members[:4]...)
	hear(15, frank)
	erin.connect(ctx, t)
	hear(30, erin)
	erin.leave() // now from the channel itself
	say(10)
	hear(40, members[:4]...)
	erin.connect(ctx, t)
	hear(40, erin)
	hear(25, frank)
	wantHeard(t, members[:5], 0, 40)
	wantHeard(t, members[5:], 15, 40)
	for _, m := range members {
		if !m.channels {
			t.Errorf("%s heard nothing by the channel", m.name)
		}
	}
	// Who is taken out hears nothing more, and can't read on.
	if _, err := alice.client.RemoveMembers(ctx, conv, "bob"); err != nil {
		t.Fatal(err)
	}
	say(1)
	hear(41, alice, members[2])
	for e, err := range members[1].client.History(ctx, conv, client.Range{Forward: true, After: members[1].last, Group: true}) {
		if err != nil {
			break
		}
		if e.Kind == godwit.EntryMessage {
			t.Errorf("bob reads %q after he was taken out", e.Msg.Body)
		}
	}
	if _, err := members[1].client.Send(ctx, conv, client.Message{Text: "still here"}); err == nil || !strings.Contains(err.Error(), "not_member") {
		t.Errorf("bob sends: %v", err)
	}
}

func TestAGroupBecomesAChannelAndNobodyMissesAnything(t *testing.T) { testChannel(t) }

func TestAChannelIsHeardOnAllEdgeProcesses(t *testing.T) { testChannel(t, "GODWIT_EDGES=3") }
