package e2e

import (
	"bufio"
	be "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// stormUser is a client that does what docs/protocol.md asks of one: it resumes
// where it was, and comes back when it is told to.
type stormUser struct {
	name, token string
	source      net.IP // one address has too few ports for all
	storm       *storm
	seen        []string // bodies, in order
	epoch       string
	conn        *net.TCPConn
	reader      *bufio.Reader // of conn
}

// storm is what all of them share.
type storm struct {
	server   *server
	attempts atomic.Int64
	refused  sync.Map     // why → *atomic.Int64
	arrived  atomic.Int64 // events
	problem  atomic.Pointer[error]
	quiet    atomic.Bool // connections end because the test ends them
}

func (st *storm) count(why string) {
	n, _ := st.refused.LoadOrStore(why, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func (st *storm) fail(err error) { st.problem.CompareAndSwap(nil, &err) }

func (st *storm) problemText() string {
	if problem := st.problem.Load(); problem != nil {
		return (*problem).Error()
	}
	return "nothing else is wrong"
}

func (st *storm) String() string {
	text := fmt.Sprintf("%d attempts", st.attempts.Load())
	st.refused.Range(func(why, n any) bool {
		text += fmt.Sprintf(", %v: %d", why, n.(*atomic.Int64).Load())
		return true
	})
	return text
}

// comeIn tries until the session is open and replayed, backing off as told.
func (u *stormUser) comeIn() {
	for n := 0; u.storm.problem.Load() == nil; n++ {
		told, why := u.attempt()
		if why == "" {
			return
		}
		u.storm.count(why)
		backoff := rand.N(min(20*time.Second, 500*time.Millisecond<<min(n, 10)))
		<-time.After(max(told, backoff))
	}
}

// attempt connects once; why says what stood in the way, told how long to stay away.
func (u *stormUser) attempt() (told time.Duration, why string) {
	u.storm.attempts.Add(1)
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: u.source}}
	c, err := d.Dial("tcp", u.storm.server.listen)
	if err != nil {
		return 0, "no connection"
	}
	conn := c.(*net.TCPConn)
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReaderSize(conn, 2<<10)
	_, _ = io.WriteString(conn, upgradeLines(u.storm.server)+"\r\n")
	reply, err := http.ReadResponse(r, nil)
	switch {
	case err != nil:
		conn.Close()
		return 0, "reset"
	case reply.StatusCode != 101:
		defer conn.Close()
		seconds, err := strconv.Atoi(reply.Header.Get("Retry-After"))
		if err != nil {
			u.storm.fail(fmt.Errorf("status %d says not when to come back", reply.StatusCode))
		}
		return time.Duration(seconds) * time.Second, fmt.Sprint("status ", reply.StatusCode)
	}
	_, _ = io.WriteString(conn, text(fmt.Sprintf(`{"id":1,"connect":{"token":"%s","device":"d","resume":{"epoch":"%s","seq":%d}}}`, u.token, u.epoch, len(u.seen))))
	for {
		op, payload, err := readServerFrame(r)
		if err != nil {
			conn.Close()
			return 0, "reset"
		}
		if op == 8 {
			conn.Close()
			var reason struct {
				After int64 `json:"retry_after_ms"`
			}
			if json.Unmarshal(payload[2:], &reason) != nil || reason.After == 0 {
				u.storm.fail(fmt.Errorf("%s: closed with %d %s", u.name, be.BigEndian.Uint16(payload), payload[2:]))
			}
			return time.Duration(reason.After) * time.Millisecond, fmt.Sprint("close ", be.BigEndian.Uint16(payload))
		}
		if done := u.take(payload); done {
			_ = conn.SetDeadline(time.Time{})
			u.conn, u.reader = conn, r
			return 0, ""
		}
	}
}

// take handles one message of the server; true at the end of the replay.
func (u *stormUser) take(payload []byte) (resumed bool) {
	for line := range strings.Lines(string(payload)) {
		var f godwit.ServerFrame
		if err := f.Parse(godwit.EncodingJSON, []byte(strings.TrimSuffix(line, "\n"))); err != nil {
			u.storm.fail(fmt.Errorf("%s: %w in %s", u.name, err, line))
			return false
		}
		switch f.Kind {
		case godwit.KindConnect:
			u.epoch = f.Connect.Epoch
			if !f.Connect.Resumed {
				u.storm.fail(fmt.Errorf("%s: not resumed at %d: %s", u.name, len(u.seen), f.Connect.Reason))
			}
		case godwit.KindResumed:
			resumed = true
		case godwit.KindEvent:
			if f.Event.Seq != godwit.Seq(len(u.seen)+1) {
				u.storm.fail(fmt.Errorf("%s: event %d follows %d", u.name, f.Event.Seq, len(u.seen)))
			}
			u.seen = append(u.seen, string(f.Event.Msg.Body))
			u.storm.arrived.Add(1)
		case godwit.KindPing:
			if u.conn != nil {
				_, _ = io.WriteString(u.conn, text("{}"))
			}
		default:
			u.storm.fail(fmt.Errorf("%s: %s", u.name, line))
		}
	}
	return resumed
}

// listen takes what comes until the connection ends.
func (u *stormUser) listen() {
	for {
		op, payload, err := readServerFrame(u.reader)
		switch {
		case err != nil:
			if u.storm.quiet.Load() {
				return
			}
			u.storm.fail(fmt.Errorf("%s: the connection ended: %w", u.name, err))
			return
		case op == 8:
			u.storm.fail(fmt.Errorf("%s: closed with %d %s", u.name, be.BigEndian.Uint16(payload), payload[2:]))
			return
		}
		u.take(payload)
	}
}

func readServerFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [4]byte
	if _, err = io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	switch n {
	case 126:
		if _, err = io.ReadFull(r, head[2:4]); err != nil {
			return 0, nil, err
		}
		n = int(be.BigEndian.Uint16(head[2:]))
	case 127:
		return 0, nil, fmt.Errorf("a frame longer than any of this test")
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0] & 15, payload, err
}

// peakResident is the most memory the process has had, in bytes.
func peakResident(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kB, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kB << 10
}

// TestAStormOfReconnectsIsServedInTurn: all sessions are cut at once and come
// back at once, each as its answers tell it. The process lives within its memory,
// everyone gets in, bystanders don't notice, and what was sent to the missing
// meanwhile is there. GODWIT_E2E_STORM sets the number of sessions.
//
//tidy:long one campaign, told in its order
func TestAStormOfReconnectsIsServedInTurn(t *testing.T) {
	sessions := 1500
	if n, err := strconv.Atoi(os.Getenv("GODWIT_E2E_STORM")); err == nil {
		sessions = n
	}
	const memory = 256 << 20
	// A few places only, and few sockets of one address: the storm must be felt.
	s, bystanders := withControls(t, fmt.Sprint("GODWIT_EDGE_MEMORY=", memory), fmt.Sprint("GODWIT_EDGE_HANDSHAKES=", max(16, sessions/64)), fmt.Sprint("GODWIT_EDGE_PER_SOURCE=", max(64, sessions/16)),
		"GODWIT_EDGE_HEAD_TIMEOUT=1m", "GODWIT_EDGE_TOKEN_TIMEOUT=1m") // these clients are many, and may be slow
	st := &storm{server: s}
	users := make([]*stormUser, sessions)
	var names []string
	for i := range users {
		users[i] = &stormUser{name: fmt.Sprint("user-", i), source: net.IPv4(127, 0, 1, byte(1+i%8)), storm: st}
		names = append(names, users[i].name)
	}
	tokens := s.tokens(append(names, "sender")...)
	sender, _ := connectWire(t, s.url(), godwit.EncodingProto, tokens["sender"], "s", godwit.Resume{})
	send := func(text string, to []*stormUser) {
		for _, u := range to {
			for reply := sender.send(u.name, text+"-"+u.name, text); reply.Kind != godwit.KindSend; reply = sender.send(u.name, text+"-"+u.name, text) {
				if !reply.Error.Temporary {
					t.Fatalf("%+v", reply.Error)
				}
			}
			if n := len(sender.events); n > 0 && n%100 == 0 {
				sender.writeFrame(&godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: sender.events[n-1].Seq}})
			}
		}
	}
	var in sync.WaitGroup
	all := func(do func(*stormUser), at int) {
		began := time.Now()
		places := make(chan struct{}, at)
		for _, u := range users {
			in.Go(func() {
				places <- struct{}{}
				do(u)
				<-places
			})
		}
		in.Wait()
		if problem := st.problem.Load(); problem != nil {
			t.Fatal(*problem)
		}
		t.Logf("%d sessions in after %v, %d at a time: %v; at most %d MiB resident", sessions, time.Since(began).Round(time.Millisecond), at, st, peakResident(t, s.cmd.Process.Pid)>>20)
	}
	all(func(u *stormUser) { u.token = tokens[u.name]; u.comeIn() }, 32)
	send("before", users[:min(200, sessions)])
	var listening sync.WaitGroup
	listen := func() {
		for _, u := range users {
			listening.Go(u.listen)
		}
	}
	listen()
	awaitAll(t, bystanders, st, int64(min(200, sessions)))

	st.quiet.Store(true)
	for _, u := range users { // a router fails: no farewell, no answer
		_ = u.conn.SetLinger(0)
		_ = u.conn.Close()
	}
	listening.Wait()
	st.quiet.Store(false)
	var sending sync.WaitGroup
	sending.Go(func() { send("meanwhile", users[:min(500, sessions)]) })
	all(func(u *stormUser) { u.conn = nil; u.comeIn() }, sessions)
	sending.Wait()
	listen()
	send("after", users[:min(200, sessions)])
	awaitAll(t, bystanders, st, int64(2*min(200, sessions)+min(500, sessions)))
	st.quiet.Store(true)
	for _, u := range users {
		_ = u.conn.Close()
	}
	listening.Wait()
	for i, u := range users {
		var want []string
		if i < 200 {
			want = []string{"before", "meanwhile", "after"}
		} else if i < 500 {
			want = []string{"meanwhile"}
		}
		if strings.Join(u.seen, " ") != strings.Join(want, " ") {
			t.Fatalf("%s has %q, want %q", u.name, u.seen, want)
		}
	}
	if problem := st.problem.Load(); problem != nil {
		t.Fatal(*problem)
	}
	if peak := peakResident(t, s.cmd.Process.Pid); peak > memory {
		t.Errorf("%d MiB were resident, the budget is %d MiB", peak>>20, memory>>20)
	}
}

// awaitAll waits until so many events have arrived in all.
func awaitAll(t *testing.T, c *controls, st *storm, events int64) {
	t.Helper()
	c.await(fmt.Sprintf("%d events never arrived", events), func() bool { return st.arrived.Load() >= events || st.problem.Load() != nil })
	if n := st.arrived.Load(); n != events || st.problem.Load() != nil {
		t.Fatalf("%d events arrived, want %d; %v", n, events, st.problemText())
	}
}
