package main

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

const testUsers = 12

// load gives a store messages, as spec's defaults say.
func load(t *testing.T, p peer, ph phase, appenders int, count uint64) phase {
	t.Helper()
	r, err := runLoad(p, loadSpec{Phase: ph, Count: count, Appenders: appenders, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if r.Count != count || r.P50 <= 0 || r.P99 < r.P50 || r.Seconds <= 0 {
		t.Fatalf("of %d messages: %+v", count, r)
	}
	ph.Count = r.Count
	return ph
}

func mustOpenPeer(t *testing.T, name string, o openOptions, written ...phase) peer {
	t.Helper()
	p, err := openPeer(name, o)
	if err != nil {
		t.Fatal(err)
	}
	p.Prepare(headsOf(written, o.Users))
	return p
}

func mustClosePeer(t *testing.T, p peer) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// Users get so many messages that one page does not hold them.
func TestEachPeerReturnsWhatWasAppendedAndSurvivesReopening(t *testing.T) {
	users := sampleUsers(1, testUsers, testUsers)
	for _, name := range allPeers {
		t.Run(name, func(t *testing.T) {
			o := openOptions{Dir: t.TempDir(), Users: testUsers, Compress: true, CacheBytes: 8 << 20, Sample: users}
			p := mustOpenPeer(t, name, o)
			phases := []phase{
				load(t, p, phase{Seed: 1, Users: testUsers}, 300, 1200),
				load(t, p, phase{Seed: 2, Users: testUsers, Spread: true}, 8, 200),
			}
			if err := p.Settle(after(0)); err != nil {
				t.Fatal(err)
			}
			if name != peerLog { // it reads what a replay gave
				if err := verify(p, phases, users); err != nil {
					t.Fatal(err)
				}
			}
			mustClosePeer(t, p)
			p = mustOpenPeer(t, name, o, phases...)
			phases = append(phases, load(t, p, phase{Seed: 3, Users: testUsers}, 8, 100))
			mustClosePeer(t, p)
			p = mustOpenPeer(t, name, o, phases...)
			if err := verify(p, phases, users); err != nil {
				t.Error(err)
			}
			if name != peerLog {
				r, err := runPages(p, users)
				if err != nil || r.Messages != testUsers*pageMessages {
					t.Errorf("%d users have %d messages on their pages, %v", testUsers, r.Messages, err)
				}
			}
			mustClosePeer(t, p)
		})
	}
}

// faulty is a store that acknowledges everything and spoils some of it.
type faulty struct {
	peer
	spoil func(a appender, n int, user uint32, text []byte) error
}

type faultyAppender struct {
	appender
	n     int
	spoil func(a appender, n int, user uint32, text []byte) error
}

func (f faulty) Appender(among int) appender {
	return &faultyAppender{appender: f.peer.Appender(among), spoil: f.spoil}
}

func (a *faultyAppender) Append(user uint32, text []byte) error {
	a.n++
	return a.spoil(a.appender, a.n, user, text)
}

// plants are faults that the verification must find, by the name of the store.
// Each spoils the third message of every appender.
var plants = map[string]func(a appender, n int, user uint32, text []byte) error{
	"loses a message": func(a appender, n int, user uint32, text []byte) error {
		if n == 3 {
			return nil
		}
		return a.Append(user, text)
	},
	"stores a message twice": func(a appender, n int, user uint32, text []byte) error {
		if n == 3 {
			return errors.Join(a.Append(user, text), a.Append(user, text))
		}
		return a.Append(user, text)
	},
	"changes a byte": func(a appender, n int, user uint32, text []byte) error {
		if n == 3 {
			text = slices.Clone(text)
			text[100] ^= 1
		}
		return a.Append(user, text)
	},
	"gives a message to another user": func(a appender, n int, user uint32, text []byte) error {
		if n == 3 {
			user ^= 1
		}
		return a.Append(user, text)
	},
}

func TestVerifyCatchesAStoreThatSpoilsOneMessage(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(plants)) {
		p := mustOpenPeer(t, name, openOptions{Dir: t.TempDir(), Users: testUsers, CacheBytes: 1 << 20})
		written := load(t, p, phase{Seed: 1, Users: testUsers}, 1, 200)
		err := verify(p, []phase{written}, sampleUsers(1, testUsers, testUsers))
		if !errors.As(err, new(errWrongData)) {
			t.Errorf("a store that %s: %v", name, err)
		}
		mustClosePeer(t, p)
	}
}

func TestLoadEndsWithTheFirstError(t *testing.T) {
	p, err := openEmpty(openOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClosePeer(t, p)
	full := errors.New("disk full")
	// The 50th message is refused.
	failing := faulty{p, func(a appender, n int, user uint32, text []byte) error {
		if n == 50 {
			return full
		}
		return a.Append(user, text)
	}}
	_, err = runLoad(failing, loadSpec{Phase: phase{Users: 5}, Count: 1000, Appenders: 2, Deadline: time.Minute})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "append message") {
		t.Errorf("the loop ended with %v", err)
	}
}
