package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// campaign is one run: users with two devices each send real text to each
// other while the server is killed again and again.
type campaign struct {
	t      testing.TB
	server *server
	users  []string
	texts  []string
	begin  func() // makes the server be there
	strike func() // breaks something and makes the server be there again

	mu         sync.Mutex
	happened   *sync.Cond // steps grew
	steps      int        // events received and answers
	running    chan struct{}
	sent       map[string]sent
	acks       []acked
	violations []string
	retries    int
	closing    bool // no new messages
	devices    []*device
}

func newCampaign(t testing.TB, s *server, users int) *campaign {
	c := &campaign{t: t, server: s, texts: corpus(t), sent: map[string]sent{}, running: make(chan struct{})}
	c.happened = sync.NewCond(&c.mu)
	c.begin = c.up
	c.strike = func() {
		c.down()
		c.server.kill()
		c.up()
	}
	for i := range users {
		c.users = append(c.users, fmt.Sprintf("user-%c", 'a'+i))
	}
	return c
}

// run starts the devices, strikes the server the given number of times at random
// points, lets everything settle and returns the history.
func (c *campaign) run(kills int, settle time.Duration) *history {
	ctx, cancel := context.WithCancel(context.Background())
	var devices sync.WaitGroup
	tokens := c.server.tokens(c.users...)
	for i, user := range c.users {
		for j, name := range []string{"phone", "web"} {
			d := &device{campaign: c, user: user, name: name, token: tokens[user], encoding: godwit.Encoding((i + j) % 2), sends: j == 0}
			d.log = deviceLog{user: user, device: name}
			c.devices = append(c.devices, d)
			devices.Go(func() { c.keepOpen(ctx, d) })
		}
	}
	c.begin()
	for range kills {
		c.waitSteps(100 + rand.IntN(1200))
		c.strike()
	}
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.settle(settle)
	cancel()
	for _, d := range c.devices {
		d.drop()
	}
	devices.Wait()
	return c.history()
}

// keepOpen holds a device's connection open until ctx ends.
func (c *campaign) keepOpen(ctx context.Context, d *device) {
	for ctx.Err() == nil {
		c.mu.Lock()
		running := c.running
		c.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return
		}
		ended, err := d.connect(c.server.url())
		if err != nil {
			continue // killed between listening and the handshake
		}
		select {
		case <-ended:
		case <-ctx.Done():
			d.drop()
			<-ended
		}
	}
}

func (c *campaign) up() {
	c.server.start()
	c.open()
}

func (c *campaign) open() {
	c.mu.Lock()
	close(c.running)
	c.mu.Unlock()
}

func (c *campaign) down() {
	c.mu.Lock()
	c.running = make(chan struct{})
	c.mu.Unlock()
}

// waitSteps returns when n more things have happened, or at the latest after
// a while without (a planted bug may leave clients with nothing to do).
func (c *campaign) waitSteps(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	late := false
	timer := time.AfterFunc(patience, func() {
		c.mu.Lock()
		late = true
		c.mu.Unlock()
		c.happened.Broadcast()
	})
	defer timer.Stop()
	for target := c.steps + n; c.steps < target && !late; {
		c.happened.Wait()
	}
	if late {
		c.violations = append(c.violations, fmt.Sprintf("nothing happens any more: fewer than %d steps", n))
	}
}

// settle waits until every send is answered and every device holds what it must.
func (c *campaign) settle(limit time.Duration) {
	deadline := time.After(limit)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !c.settled() {
		select {
		case <-look.C:
		case <-deadline:
			return
		}
	}
}

func (c *campaign) settled() bool {
	want := map[string]int{}
	c.mu.Lock()
	for _, m := range c.sent {
		want[m.from]++
		if m.to != m.from {
			want[m.to]++
		}
	}
	c.mu.Unlock()
	for _, d := range c.devices {
		if entries, unsent := d.state(); unsent > 0 || entries < want[d.user] {
			return false
		}
	}
	return true
}

func (c *campaign) history() *history {
	h := &history{sent: c.sent, acks: c.acks}
	for _, d := range c.devices {
		h.logs = append(h.logs, d.log)
	}
	return h
}

// compose makes the user's next message, or none when the run is closing.
func (c *campaign) compose(user string) (cid string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return "", false
	}
	cid = fmt.Sprintf("%s-%d", user, len(c.sent))
	c.sent[cid] = sent{from: user, to: c.users[rand.IntN(len(c.users))], text: c.texts[len(c.sent)%len(c.texts)]}
	return cid, true
}

func (c *campaign) message(cid string) sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent[cid]
}

func (c *campaign) ack(a acked) {
	c.mu.Lock()
	c.acks = append(c.acks, a)
	c.mu.Unlock()
	c.progress()
}

func (c *campaign) progress() {
	c.mu.Lock()
	c.steps++
	c.mu.Unlock()
	c.happened.Broadcast()
}

func (c *campaign) retry() {
	c.mu.Lock()
	c.retries++
	c.mu.Unlock()
}

func (c *campaign) violation(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.violations) < 100 {
		c.violations = append(c.violations, fmt.Sprintf(format, args...))
	}
}

// readBack reads every user's log, conversations and unread counts anew and
// adds the log as a third device.
func (c *campaign) readBack(h *history) {
	tokens := c.server.tokens(c.users...)
	for i, user := range c.users {
		w, _ := connectWire(c.t, c.server.url(), godwit.Encoding(i%2), tokens[user], "reader", godwit.Resume{})
		log := deviceLog{user: user, device: "reader"}
		for since := godwit.Seq(0); ; {
			page := w.sync(since, 0)
			for _, e := range page.Entries {
				log.entries = append(log.entries, newSeen(&e))
				since = e.Seq
			}
			if since >= page.Head {
				break
			}
		}
		h.logs = append(h.logs, log)
		c.checkConversations(w, user, log)
	}
}

// checkConversations compares pages both ways and unread counts with the log.
func (c *campaign) checkConversations(w *wire, user string, log deviceLog) {
	want, incoming := map[string][]godwit.Seq{}, map[string]uint64{}
	for _, e := range log.entries {
		want[e.conv] = append(want[e.conv], e.seq)
		if e.from != user {
			incoming[e.conv]++
		}
	}
	items := w.conversations(2)
	if len(items) != len(want) {
		c.violation("%s: %d conversations listed, %d in the log", user, len(items), len(want))
	}
	for _, item := range items {
		conv := string(item.Conv)
		seqs := want[conv]
		if len(seqs) == 0 || item.Last.Seq != seqs[len(seqs)-1] || item.Unread != incoming[conv] {
			c.violation("%s: conversation %s: last %d, unread %d; the log says %d, %d", user, conv, item.Last.Seq, item.Unread, seqs[len(seqs)-1], incoming[conv])
		}
		for _, forward := range []bool{false, true} {
			var got []godwit.Seq
			for _, e := range w.history(conv, forward, 37) {
				got = append(got, e.Seq)
			}
			if fmt.Sprint(got) != fmt.Sprint(seqs) {
				c.violation("%s: history of %s (forward %v) holds %d entries, the log %d", user, conv, forward, len(got), len(seqs))
			}
		}
	}
}

func TestNothingAckedIsLostOverFiftyKills(t *testing.T) {
	kills := 50
	if more := os.Getenv("GODWIT_E2E_KILLS"); more != "" { // make soak
		var err error
		if kills, err = strconv.Atoi(more); err != nil || kills < 50 {
			t.Fatalf("GODWIT_E2E_KILLS is %q, want a number of at least 50", more)
		}
	}
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprintf("groups=%d", groups), func(t *testing.T) {
			// So little memory that checkpoints and merges are killed, too.
			s := newServer(t, "", fmt.Sprintf("GODWIT_ENGINE_GROUPS=%d", groups), "GODWIT_ENGINE_MEMTABLE=1MiB")
			c := newCampaign(t, s, 6)
			h := c.run(kills, patience)
			c.readBack(h)
			segments := metric(t, s.ops, "godwit_engine_segments")
			if segments == 0 {
				t.Error("no entry came to a segment: the run did not kill a checkpoint")
			}
			replayed, connections := 0, 0
			for _, d := range c.devices {
				replayed += d.replays
				connections += d.reopened
			}
			t.Logf("%d kills, %g segments: %d messages sent, %d acks, %d entries replayed over %d connections, %d temporary refusals",
				kills, segments, len(h.sent), len(h.acks), replayed, connections, c.retries)
			for _, broken := range append(c.violations, h.check()...) {
				t.Error(broken)
			}
			if len(h.sent) < 2000 {
				t.Errorf("only %d messages: the run is too small to mean anything", len(h.sent))
			}
		})
	}
}

// TestReleaseBinaryHoldsNoPlantedBugs looks for the switch's name in both builds.
func TestReleaseBinaryHoldsNoPlantedBugs(t *testing.T) {
	for tags, want := range map[string]bool{"": false, "seededbugs": true} {
		program, err := os.ReadFile(binary(t, tags))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(program, []byte("GODWIT_SEEDED_BUG")) != want {
			t.Errorf("tags %q: a switch for planted bugs stands in the binary: %v, want %v", tags, !want, want)
		}
	}
}

// TestKillsCatchPlantedBugs runs the same campaign on a server with a planted
// bug, which it must catch: a check that never fails proves nothing.
func TestKillsCatchPlantedBugs(t *testing.T) {
	for _, bug := range []string{"ack-before-wal-write", "duplicate-apply"} {
		t.Run(bug, func(t *testing.T) {
			mustCatch(t, bug, func(s *server) []string {
				c := newCampaign(t, s, 4)
				h := c.run(10, 5*time.Second)
				return append(c.violations, h.check()...)
			})
		})
	}
}

// mustCatch repeats a run on fresh servers with a planted bug until the run's
// check sees it: whether a kill falls into the bug's window is chance, and one
// run may miss it (about half of the short ones do); forty do not.
func mustCatch(t *testing.T, bug string, run func(s *server) (broken []string)) {
	t.Helper()
	for round := range 40 {
		s := newServer(t, "seededbugs")
		s.bug = bug
		broken := run(s)
		s.kill()
		if len(broken) > 0 {
			t.Logf("planted bug %s caught in run %d: %d violations, first: %s", bug, round+1, len(broken), broken[0])
			return
		}
	}
	t.Fatalf("planted bug %s was not caught in 40 runs", bug)
}
