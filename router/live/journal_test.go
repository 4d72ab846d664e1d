package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// life is one process: a router and the journal of its file. Without Start the test
// says when is written.
type life struct {
	*Router
	*Journal
	t    *testing.T
	path string
	now  *int64
	max  int
	log  *bytes.Buffer
}

func newLife(t *testing.T, most int) *life {
	now := int64(1_000_000)
	l := &life{t: t, path: filepath.Join(t.TempDir(), "last-seen"), now: &now, max: most, log: &bytes.Buffer{}}
	l.begin()
	return l
}

// begin is a new process with the same file.
func (l *life) begin() {
	l.log.Reset()
	l.Router = newRouter(l.t, Config{Clock: func() int64 { return *l.now }, LastSeenMax: l.max})
	l.Journal = OpenJournal(JournalConfig{Router: l.Router, Path: l.path, Logger: slog.New(slog.NewTextHandler(l.log, nil))})
}

// kill ends the process as SIGKILL does: what is not written is lost.
func (l *life) kill() {
	l.t.Helper()
	_ = l.file.Close()
	l.begin()
}

// end is a clean end.
func (l *life) end() {
	l.Close()
	l.begin()
}

func (l *life) comes(user godwit.UserID)  { l.Register(user, "phone", 1, 0) }
func (l *life) leaves(user godwit.UserID) { l.Unregister(user, "phone", 1) }

// want is when the user was seen; -1: he is online.
func (l *life) want(user godwit.UserID, want int64) {
	l.t.Helper()
	online, ms := l.Presence(user)
	if online {
		ms = -1
	}
	if ms != want {
		l.t.Errorf("%s was seen at %d, want %d\n%s", user, ms, want, l.log)
	}
}

func (l *life) bytes() []byte {
	l.t.Helper()
	b, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func TestLastSeenSurvivesARestart(t *testing.T) {
	l := newLife(t, 0)
	if !strings.Contains(l.log.String(), "not known") {
		t.Errorf("a file that is not there is not told of: %s", l.log)
	}
	l.comes("bob")
	l.comes("carol")
	*l.now = 2_000_000
	l.leaves("bob")
	*l.now = 3_000_000
	l.end() // nothing was written before
	*l.now = 4_000_000
	l.want("bob", 2_000_000)
	l.want("carol", 3_000_000) // her session ended with the process
	l.want("dave", 0)
	l.comes("carol")
	l.tick()
	*l.now = 5_000_000
	l.leaves("carol")
	l.end()
	l.end() // and one in which nothing happens
	l.want("bob", 2_000_000)
	l.want("carol", 5_000_000)
	if l.log.Len() > 0 {
		t.Errorf("logged %s", l.log)
	}
}

// TestAKilledProcessForgetsTheLastInterval: what was written counts; who was online
// then was seen at the last write, which there is in every interval.
func TestAKilledProcessForgetsTheLastInterval(t *testing.T) {
	l := newLife(t, 0)
	l.comes("bob")
	l.comes("carol")
	l.comes("erin")
	*l.now = 2_000_000
	l.leaves("bob")
	l.tick()
	for range 20 { // nothing changes
		*l.now += 5000
		l.tick()
	}
	last := *l.now
	*l.now += 4000
	l.leaves("carol") // not written: she was online last
	l.comes("dave")   // nor is he
	l.comes("bob")    // nor that he came back
	*l.now = 9_000_000
	l.kill()
	l.want("bob", 2_000_000)
	l.want("carol", last)
	l.want("erin", last)
	l.want("dave", 0)
}

func TestNothingIsWrittenWhileNobodyIsOnline(t *testing.T) {
	l := newLife(t, 0)
	l.comes("bob")
	l.tick()
	l.leaves("bob")
	l.tick()
	before := l.Stats()
	for range 100 {
		*l.now += 5000
		l.tick()
	}
	if after := l.Stats(); after != before || before.Users != 1 || before.Unwritten != 0 || before.Writes != 2 {
		t.Errorf("wrote from %+v to %+v", before, after)
	}
	l.comes("bob")
	l.leaves("bob")
	if got := l.Stats().Unwritten; got != 1 {
		t.Errorf("%d changes wait, want bob's", got)
	}
	l.tick()
	l.comes("carol")
	l.whole = true
	l.tick()
	if got := l.Stats().Unwritten; got != 0 {
		t.Errorf("%d changes wait after all was written", got)
	}
	before = l.Stats()
	for range 100 {
		*l.now += 5000
		l.tick()
	}
	if grown := l.Stats().Bytes - before.Bytes; grown > 100*blockHeaderBytes {
		t.Errorf("100 writes without a change take %d bytes", grown)
	}
}

func TestAnErasedUserIsForgottenForGood(t *testing.T) {
	l := newLife(t, 0)
	ticks := make(chan time.Time)
	l.cfg.Ticks = ticks
	for _, user := range []godwit.UserID{"bob", "carol", "dave"} {
		l.comes(user)
	}
	l.leaves("bob")
	l.leaves("dave")
	l.tick()
	l.Start()
	for _, user := range []godwit.UserID{"bob", "carol"} {
		if err := l.Forget(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	l.want("bob", 0)
	l.want("carol", -1)
	j, err := parseJournal(l.bytes()) // as a process would find it that is started now
	if err != nil || len(j.users) != 1 || j.users["dave"].ms != *l.now {
		t.Errorf("the file knows %v: %v", j.users, err)
	}
	l.leaves("carol") // the end that her erasure brought about
	l.want("carol", 0)
	if !bytes.Contains(l.bytes(), []byte("bob")) {
		t.Error("the file is written anew for each erasure")
	}
	for range rewriteAfter {
		ticks <- time.Time{}
	}
	if err := l.Forget(t.Context(), "nobody"); err != nil { // answered when the last tick is over
		t.Fatal(err)
	}
	if b := l.bytes(); bytes.Contains(b, []byte("bob")) || bytes.Contains(b, []byte("carol")) || !bytes.Contains(b, []byte("dave")) {
		t.Errorf("a minute later the file holds %q", b)
	}
	l.comes("carol") // somebody else by that name
	*l.now += 1000
	l.leaves("carol")
	l.want("carol", *l.now)
	if err := l.Forget(t.Context(), "carol"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if b := l.bytes(); bytes.Contains(b, []byte("carol")) {
		t.Error("her name is in the file after a clean end")
	}
	if err := l.Forget(t.Context(), "dave"); !errors.Is(err, ErrJournalClosed) {
		t.Errorf("a closed journal forgets: %v", err)
	}
	l.begin()
	l.want("bob", 0)
	l.want("carol", 0)
	if _, ms := l.Presence("dave"); ms == 0 {
		t.Error("dave is forgotten, too")
	}
	l.Close()
}

// TestTheFileIsBounded by those who are remembered, however many come and go.
func TestTheFileIsBounded(t *testing.T) {
	const most, users, rounds = 640, 5000, 60
	l := newLife(t, most)
	largest, rewrites := 0, l.Stats().Rewrites
	for round := range rounds {
		for i := range users {
			if (i+round)%3 == 0 {
				user := godwit.UserID(fmt.Sprintf("%060d", i))
				*l.now++
				l.comes(user)
				l.leaves(user)
			}
			if i%500 == 0 {
				l.tick()
			}
		}
		largest = max(largest, len(l.bytes()))
	}
	batch := 64 * most / shardCount * recordBytesMax
	if largest > 4*most*recordBytesMax+journalSlack+batch {
		t.Errorf("the file had %d bytes", largest)
	}
	if n := l.Stats().Rewrites - rewrites; n == 0 || l.Stats().Users > most {
		t.Errorf("%d times written anew, %d users", n, l.Stats().Users)
	}
	all := map[godwit.UserID]int64{}
	for i := range users {
		user := godwit.UserID(fmt.Sprintf("%060d", i))
		if _, ms := l.Presence(user); ms > 0 {
			all[user] = ms
		}
	}
	l.end()
	for user, ms := range all {
		l.want(user, ms)
	}
	if got := l.Stats().Users; got != len(all) || got == 0 {
		t.Errorf("%d users were remembered and %d are", len(all), got)
	}
}

// TestMoreChangesThanAreNoted: all is written then, and nothing is lost.
func TestMoreChangesThanAreNoted(t *testing.T) {
	l := newLife(t, 64) // one of each shard is noted
	before := l.Stats()
	var users []godwit.UserID
	for i := range 1000 {
		users = append(users, godwit.UserID(fmt.Sprint("u", i)))
		l.comes(users[i])
	}
	if got := l.Stats().Unwritten; got == 0 || got > 2*shardCount {
		t.Errorf("%d changes are noted", got)
	}
	l.tick()
	if after := l.Stats(); after.Unwritten != 0 || after.Rewrites != before.Rewrites+1 {
		t.Errorf("after the write %+v", after)
	}
	at := *l.now
	*l.now += 1000
	l.kill()
	found := 0
	for _, user := range users {
		switch _, ms := l.Presence(user); ms {
		case at:
			found++
		case 0: // one of each shard is remembered
		default:
			t.Errorf("%s was seen at %d", user, ms)
		}
	}
	if found != shardCount {
		t.Errorf("%d users are known", found)
	}
}

func TestWhatCantBeWrittenIsWrittenLater(t *testing.T) {
	l := newLife(t, 0)
	l.comes("bob")
	l.tick()
	// The file can't grow, and no other can be made.
	_ = l.file.Close()
	away := filepath.Dir(l.path) + ".away"
	if err := os.Rename(filepath.Dir(l.path), away); err != nil {
		t.Fatal(err)
	}
	*l.now = 2_000_000
	l.leaves("bob")
	for range 3 * failedWait {
		l.tick()
	}
	if s := l.Stats(); s.Failures < 2 || s.Failures > 4 || s.Unwritten == 0 {
		t.Errorf("after failures %+v", s)
	}
	if n := strings.Count(l.log.String(), "can't be written"); n != 1 {
		t.Errorf("told of %d times: %s", n, l.log)
	}
	if err := os.Rename(away, filepath.Dir(l.path)); err != nil {
		t.Fatal(err)
	}
	for range failedWait + 1 {
		l.tick()
	}
	if got := l.Stats().Unwritten; got != 0 {
		t.Errorf("%d changes wait", got)
	}
	*l.now = 3_000_000
	l.kill()
	l.want("bob", 2_000_000)
}

// TestForgettingWaitsForTheFile: an erasure that is not written down fails, and is
// repeated.
func TestForgettingWaitsForTheFile(t *testing.T) {
	l := newLife(t, 0)
	l.comes("bob")
	l.leaves("bob")
	l.tick()
	l.cfg.Ticks = make(chan time.Time)
	l.Start()
	defer l.Close()
	if err := l.Forget(t.Context(), "nobody"); err != nil { // the goroutine waits from now on
		t.Fatal(err)
	}
	away := filepath.Dir(l.path) + ".away"
	if err := os.Rename(filepath.Dir(l.path), away); err != nil {
		t.Fatal(err)
	}
	_ = l.file.Close()
	if err := l.Forget(t.Context(), "bob"); err == nil {
		t.Error("it is written where there is no directory")
	}
	if err := os.Rename(away, filepath.Dir(l.path)); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget(t.Context(), "bob"); err != nil {
		t.Error(err)
	}
	if bytes.Contains(l.bytes(), []byte("bob")) {
		t.Error("bob is in the file")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	blocked := &Journal{router: l.Router, asks: make(chan chan error), stop: make(chan struct{})}
	if err := blocked.Forget(ended, "bob"); !errors.Is(err, context.Canceled) {
		t.Errorf("it waits for ever: %v", err)
	}
}

func TestAClockSetBackShowsNobodyInTheFuture(t *testing.T) {
	l := newLife(t, 0)
	l.comes("bob")
	*l.now = 9_000_000
	l.leaves("bob")
	*l.now = 5_000_000
	l.comes("carol")
	l.end()
	l.want("bob", 5_000_000)
	l.want("carol", 5_000_000)
}

func TestJournalWhileUsersComeAndGo(t *testing.T) {
	l := newLife(t, 0)
	l.Journal.Close()
	l.Router = newRouter(t, Config{})
	ticks := make(chan time.Time)
	l.Journal = OpenJournal(JournalConfig{Router: l.Router, Path: l.path, Logger: slog.New(slog.DiscardHandler), Ticks: ticks})
	l.Start()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				user := godwit.UserID(fmt.Sprintf("u%d-%d", w, i%50))
				l.Register(user, "phone", godwit.SessionID(i+1), 0)
				if i%5 != 0 {
					l.Unregister(user, "phone", godwit.SessionID(i+1))
				}
				switch {
				case i%100 == 7:
					if err := l.Forget(t.Context(), user); err != nil {
						t.Error(err)
					}
				case i%50 == 0:
					ticks <- time.Time{}
				}
				l.Stats()
			}
		})
	}
	wg.Wait()
	l.Close()
	l.Close()
	j, err := parseJournal(l.bytes())
	if err != nil || j.torn || len(j.users) == 0 {
		t.Fatalf("%d users: %v", len(j.users), err)
	}
	for user, k := range j.users {
		if online, ms := l.Presence(user); online != k.online || !online && ms != k.ms {
			t.Errorf("%s: the file says %+v, the router %v %d", user, k, online, ms)
		}
	}
}

// BenchmarkComeAndLeave is what a user's first session and its end cost, without a
// journal and with one that writes every 10,000 users.
func BenchmarkComeAndLeave(b *testing.B) {
	for _, kept := range []bool{false, true} {
		b.Run(fmt.Sprint("journal=", kept), func(b *testing.B) {
			r, err := New(Config{})
			if err != nil {
				b.Fatal(err)
			}
			var j *Journal
			if kept {
				j = OpenJournal(JournalConfig{Router: r, Path: filepath.Join(b.TempDir(), "last-seen"), Logger: slog.New(slog.DiscardHandler)})
				defer j.Close()
			}
			users := make([]godwit.UserID, 100_000)
			for i := range users {
				users[i] = godwit.UserID(fmt.Sprintf("user%06d", i))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				user := users[i%len(users)]
				r.Register(user, "phone", 1, 0)
				r.Unregister(user, "phone", 1)
				if kept && i%10_000 == 0 {
					j.tick()
				}
			}
		})
	}
}

// BenchmarkWriteLastSeen writes the file of 262,144 users anew.
func BenchmarkWriteLastSeen(b *testing.B) {
	r, err := New(Config{LastSeenMax: 1 << 19})
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "last-seen")
	j := OpenJournal(JournalConfig{Router: r, Path: path, Logger: slog.New(slog.DiscardHandler)})
	defer j.Close()
	for i := range 262_144 {
		user := godwit.UserID(fmt.Sprintf("user%06d", i))
		r.Register(user, "phone", 1, 0)
		r.Unregister(user, "phone", 1)
	}
	for b.Loop() {
		j.whole = true
		j.tick()
	}
	b.ReportMetric(float64(j.Stats().Bytes)/262_144, "B/user")
	src, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	if told, err := parseJournal(src); err != nil || len(told.users) != 262_144 {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "read-ms")
}
