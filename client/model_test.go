package client

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// model is a small server of one user on both transports, after the rules of
// docs/protocol.md: a session of the same device replaces the older one.
type model struct {
	t       *testing.T
	network *network
	server  *http.Server

	mu       sync.Mutex
	epoch    string
	log      []godwit.Entry
	turn     chan struct{} // closed and replaced at each entry
	cids     map[string]godwit.Seq
	order    []string // client ids as they were stored
	sessions map[string]*modelSession
	limits   godwit.Limits
	draining bool           // polls begin with goaway
	requests []*httpRequest // all of HTTP, in order

	// before sees each request and may answer it; true: it did. It holds no lock.
	before func(w http.ResponseWriter, r *httpRequest) bool
	// upgraded sees each WebSocket frame before the model; true: it is swallowed.
	upgraded func(f *godwit.ClientFrame) bool

	replaced int // WebSockets closed with 4003 while the client still held them
	polls    int // outstanding
	most     int // polls outstanding at once
}

// httpRequest is an HTTP request as the model saw it.
type httpRequest struct {
	*http.Request
	name string // "ws", "poll", "rpc"
	body []byte
	at   time.Time
}

// modelSession is the newest session of a device.
type modelSession struct {
	socket *gws.Conn // nil: it polls
	ended  chan struct{}
}

func newModel(t *testing.T, head godwit.Seq) *model {
	m := &model{
		t: t, network: newNetwork(), epoch: "e1", turn: make(chan struct{}), cids: map[string]godwit.Seq{},
		sessions: map[string]*modelSession{},
		limits:   godwit.Limits{Frame: 65536, Body: 16384, InFlight: 64, Page: 100, Presence: 100, Window: 512, RPC: 50, Wait: 60},
	}
	m.publish(int(head))
	m.server = &http.Server{Handler: http.HandlerFunc(m.serve), ErrorLog: nil}
	var served sync.WaitGroup
	served.Go(func() { _ = m.server.Serve(m.network) })
	t.Cleanup(func() {
		_ = m.server.Close()
		m.network.breakAll()
		m.mu.Lock()
		for _, s := range m.sessions {
			if s.socket != nil {
				_ = s.socket.NetConn().Close()
			}
		}
		m.mu.Unlock()
		served.Wait()
		time.Sleep(time.Minute) // handlers that sleep have woken
	})
	return m
}

// publish appends entries that others sent.
func (m *model) publish(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		m.appendLocked(entry(godwit.Seq(len(m.log) + 1)))
	}
}

func (m *model) appendLocked(e godwit.Entry) {
	m.log = append(m.log, e)
	close(m.turn)
	m.turn = make(chan struct{})
}

func (m *model) headLocked() godwit.Seq { return godwit.Seq(len(m.log)) }

func (m *model) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut: a server that reads the whole body first knows nothing of it
	}
	seen := &httpRequest{Request: r, name: strings.TrimPrefix(r.URL.Path, "/v1/"), body: body, at: time.Now()}
	m.mu.Lock()
	m.requests = append(m.requests, seen)
	before := m.before
	m.mu.Unlock()
	switch {
	case before != nil && before(w, seen):
	case seen.name == "ws":
		m.webSocket(w, r)
	case r.Header.Get("Authorization") != "Bearer t":
		m.refuse(w, http.StatusUnauthorized, godwit.ErrUnauthorized, 0)
	case seen.name == "poll":
		m.poll(w, seen)
	case seen.name == "rpc":
		m.rpc(w, seen)
	default:
		m.t.Errorf("request of %s", r.URL)
	}
}

// storedAt returns the sequence of a message.
func (m *model) storedAt(cid string) godwit.Seq {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cids[cid]
}

// seen returns the requests of one name.
func (m *model) seen(name string) (all []*httpRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.requests {
		if r.name == name {
			all = append(all, r)
		}
	}
	return all
}

func (m *model) refuse(w http.ResponseWriter, status int, e *godwit.Error, retry time.Duration) {
	f := godwit.ServerFrame{Kind: godwit.KindError, Error: e.Reply(uint32(retry.Milliseconds()))}
	w.WriteHeader(status)
	_, _ = w.Write(f.AppendTo(nil, godwit.EncodingJSON))
}

func encodingOf(r *http.Request) godwit.Encoding {
	if r.Header.Get("Accept") == "application/x-protobuf" {
		return godwit.EncodingProto
	}
	return godwit.EncodingJSON
}

func (m *model) answer(w http.ResponseWriter, enc godwit.Encoding, frames ...godwit.ServerFrame) {
	var body []byte
	for i := range frames {
		body = frames[i].AppendFrameTo(body, enc)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// replaceLocked makes s the session of its device and ends the older one.
func (m *model) replaceLocked(device string, s *modelSession) {
	if old := m.sessions[device]; old != nil {
		select {
		case <-old.ended:
		default:
			close(old.ended)
			if old.socket != nil {
				if old.socket.NetConn().(*wire).peerHolds() {
					m.replaced++
				}
				go func() { _ = old.socket.WriteClose(4003, []byte(`{"reason":"replaced"}`)) }()
			}
		}
	}
	m.sessions[device] = s
}

func (m *model) connectLocked() godwit.ServerFrame {
	return godwit.ServerFrame{Kind: godwit.KindConnect, Connect: godwit.ConnectReply{
		Session: "s", Epoch: m.epoch, Seq: m.headLocked(), Ping: 25, Limits: m.limits,
	}}
}

func (m *model) poll(w http.ResponseWriter, r *httpRequest) {
	q, enc := r.URL.Query(), encodingOf(r.Request)
	device := q.Get("device")
	wait, err := strconv.Atoi(q.Get("wait"))
	if err != nil || device == "" {
		m.refuse(w, http.StatusBadRequest, godwit.ErrFrameInvalid, 0)
		return
	}
	s := &modelSession{ended: make(chan struct{})}
	m.mu.Lock()
	m.replaceLocked(device, s)
	m.polls++
	m.most = max(m.most, m.polls)
	defer func() {
		m.mu.Lock()
		m.polls--
		m.mu.Unlock()
	}()
	epoch, place, resumes := q.Get("epoch"), q.Get("seq"), q.Has("epoch")
	if q.Has("c") {
		epoch, place, _ = strings.Cut(q.Get("c"), ".")
	}
	base := 10
	if q.Has("c") {
		base = 36
	}
	since, _ := strconv.ParseUint(place, base, 64)
	if !q.Has("c") && !resumes {
		frames := []godwit.ServerFrame{m.connectLocked(), m.cursorLocked(m.headLocked())}
		m.mu.Unlock()
		m.answer(w, enc, frames...)
		return
	}
	if epoch != m.epoch || since > uint64(m.headLocked()) || m.headLocked()-godwit.Seq(since) > 5000 {
		m.mu.Unlock()
		m.refuse(w, http.StatusGone, godwit.ErrPollGone, 0)
		return
	}
	m.mu.Unlock()
	m.hold(w, r, enc, s, godwit.Seq(since), time.Duration(wait)*time.Second)
}

// hold answers with what comes after a sequence, as soon as there is something.
func (m *model) hold(w http.ResponseWriter, r *httpRequest, enc godwit.Encoding, s *modelSession, since godwit.Seq, wait time.Duration) {
	late := time.After(wait)
	for {
		m.mu.Lock()
		var frames []godwit.ServerFrame
		last := min(m.headLocked(), since+100)
		for seq := since + 1; seq <= last; seq++ {
			frames = append(frames, godwit.ServerFrame{Kind: godwit.KindEvent, Event: m.log[seq-1]})
		}
		ended := false
		select {
		case <-s.ended:
			ended, frames, last = true, nil, since
		case <-late:
			ended = true
		case <-r.Context().Done():
			m.mu.Unlock()
			return
		default:
		}
		if m.draining {
			frames = append([]godwit.ServerFrame{{Kind: godwit.KindGoaway, Goaway: godwit.Goaway{Reason: "drain", AfterMS: 8000, SpreadMS: 60000}}}, frames...)
		}
		if len(frames) > 0 || ended || wait == 0 {
			frames = append(frames, m.cursorLocked(last))
			m.mu.Unlock()
			m.answer(w, enc, frames...)
			return
		}
		turn := m.turn
		m.mu.Unlock()
		select {
		case <-turn:
		case <-late:
			late = closedTime
		case <-s.ended:
		case <-r.Context().Done():
		}
	}
}

var closedTime = func() chan time.Time { c := make(chan time.Time); close(c); return c }()

func (m *model) cursorLocked(seq godwit.Seq) godwit.ServerFrame {
	return godwit.ServerFrame{Kind: godwit.KindPoll, Poll: godwit.Poll{Cursor: m.epoch + "." + strconv.FormatUint(uint64(seq), 36)}}
}

func (m *model) parse(enc godwit.Encoding, message []byte) (frames []godwit.ClientFrame) {
	for rest := bytes.Clone(message); len(rest) > 0; {
		var frame []byte
		var err error
		if frame, rest, err = godwit.NextFrame(enc, rest); err != nil {
			m.t.Errorf("the client wrote %q: %v", message, err)
			return nil
		}
		var f godwit.ClientFrame
		if err := f.Parse(enc, frame); err != nil {
			m.t.Errorf("the client wrote %q: %v", frame, err)
			return nil
		}
		frames = append(frames, f)
	}
	return frames
}

func (m *model) rpc(w http.ResponseWriter, r *httpRequest) {
	enc := encodingOf(r.Request)
	frames := m.parse(enc, r.body)
	if len(frames) == 0 || len(frames) > int(m.limits.RPC) || len(r.body) > int(m.limits.Frame) || r.ContentLength < 0 ||
		r.URL.Query().Get("device") == "" || r.Header.Get("Content-Type") != r.Header.Get("Accept") {
		m.t.Errorf("POST of %d commands, %d bytes, headers %v", len(frames), len(r.body), r.Header)
	}
	var replies []godwit.ServerFrame
	m.mu.Lock()
	for i := range frames {
		if frames[i].ID == 0 {
			m.t.Errorf("command %d without an id", i)
		}
		replies = append(replies, m.commandLocked(&frames[i]))
	}
	m.mu.Unlock()
	m.answer(w, enc, replies...)
}

func (m *model) commandLocked(f *godwit.ClientFrame) godwit.ServerFrame {
	switch f.Kind {
	case godwit.KindSend:
		seq, dup := m.cids[string(f.Send.CID)]
		if !dup {
			seq = m.headLocked() + 1
			m.cids[string(f.Send.CID)] = seq
			m.order = append(m.order, string(f.Send.CID))
			e := entry(seq)
			e.Msg.CID = bytes.Clone(f.Send.CID)
			m.appendLocked(e)
		}
		return godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend, Send: godwit.SendReply{
			State: "stored", Seq: seq, MID: godwit.MessageID{byte(seq)}, Conv: "u:bob", Time: 7, Dup: dup,
		}}
	case godwit.KindSync:
		from := min(f.Sync.Since, m.headLocked())
		to := min(from+godwit.Seq(f.Sync.Limit), m.headLocked())
		return godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSync, Sync: godwit.SyncReply{Entries: slices.Clone(m.log[from:to]), Head: m.headLocked()}}
	case godwit.KindConversations:
		return godwit.ServerFrame{ID: f.ID, Kind: godwit.KindConversations, Conversations: godwit.ConversationsReply{
			Items: []godwit.ConversationItem{{Conv: "u:bob", Last: m.log[len(m.log)-1], Unread: 1}}, AsOf: m.headLocked(),
		}}
	}
	m.t.Errorf("command of kind %d", f.Kind)
	return godwit.ServerFrame{ID: f.ID, Kind: godwit.KindError, Error: godwit.ErrUnsupported.Reply(0)}
}

// config is a client of the model under synctest's clock.
func (m *model) config(transport Transport) Config {
	return Config{
		URL: "ws://godwit.test/v1/ws", Transport: transport, Token: "t", Device: "d", Dial: m.network.dial, NoDelivered: true,
	}
}

// open starts a client and waits until it is live.
func (m *model) open(cfg Config) *Client {
	m.t.Helper()
	c, err := New(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := withPatience()
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		m.t.Fatal(err)
	}
	return c
}

// take receives up to a sequence and wants each once, in order.
func take(t *testing.T, c *Client, from, to godwit.Seq) {
	t.Helper()
	ctx, cancel := withPatience()
	defer cancel()
	for seq := from; seq <= to; seq++ {
		item, err := c.Receive(ctx)
		if err != nil {
			t.Fatalf("receive %d: %v", seq, err)
		}
		if want := entry(seq); item.Gap != nil || item.Entry.Seq != seq || !bytes.Equal(item.Entry.Msg.Body, want.Msg.Body) {
			t.Fatalf("got %d (gap %v), want %d", item.Entry.Seq, item.Gap, seq)
		}
	}
}

// send sends n messages and waits until they are stored.
func send(t *testing.T, c *Client, prefix string, n int) {
	t.Helper()
	ctx, cancel := withPatience()
	defer cancel()
	var tickets []*Ticket
	for i := range n {
		ticket, err := c.Submit(ctx, "bob", Message{CID: fmt.Sprintf("%s%03d", prefix, i), Text: "x"})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	for _, ticket := range tickets {
		if _, err := ticket.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
