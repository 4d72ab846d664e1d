package chat

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit"
)

// served is a running service over the store in memory, with an edge and a
// router that write down what they are told. It lives in a synctest bubble:
// settle returns when nothing moves any more.
type served struct {
	t       *testing.T
	store   *memStore
	edge    *memEdge
	router  *memRouter
	service *Service
	ticks   chan time.Time
	stop    chan struct{}
}

type memEdge struct {
	mu       sync.Mutex
	replies  map[uint64][]godwit.ServerFrame // by request id
	welcomes map[godwit.SessionID][]godwit.Welcome
	hints    map[godwit.SessionID][]string
	last     map[godwit.SessionID]godwit.Entry // newest hint
	fetched  []fetched
	closed   map[godwit.SessionID]godwit.CloseCode
}

type fetched struct {
	entries []godwit.Entry
	head    godwit.Seq
	err     error
}

func (e *memEdge) Connected(s godwit.SessionID, w godwit.Welcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.welcomes[s] = append(e.welcomes[s], w)
}

// Reply copies what a real edge would encode before it returns.
func (e *memEdge) Reply(_ godwit.SessionID, f *godwit.ServerFrame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := *f
	c.Send.Conv = godwit.ConversationID(append([]byte(nil), c.Send.Conv...))
	c.Sync.Entries = slices.Clone(c.Sync.Entries)
	c.History.Entries = slices.Clone(c.History.Entries)
	c.Conversations.Items = slices.Clone(c.Conversations.Items)
	e.replies[f.ID] = append(e.replies[f.ID], c)
}

func (e *memEdge) Deliver(sessions []godwit.SessionID, entry *godwit.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range sessions {
		e.hints[s] = append(e.hints[s], line(entry))
		e.last[s] = *entry // aliases a command, which is immutable
	}
}

func (e *memEdge) Hint(sessions []godwit.SessionID, head godwit.Seq) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range sessions {
		e.hints[s] = append(e.hints[s], fmt.Sprint("head ", head))
	}
}

// Tell and Whisper keep the JSON of what they are given.
func (e *memEdge) Tell(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range sessions {
		e.hints[s] = append(e.hints[s], "tell "+string(f.AppendTo(nil, godwit.EncodingJSON)))
	}
}

func (e *memEdge) Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range sessions {
		e.hints[s] = append(e.hints[s], "whisper "+string(f.AppendTo(nil, godwit.EncodingJSON)))
	}
}

func (e *memEdge) Fetched(_ godwit.SessionID, entries []godwit.Entry, head godwit.Seq, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fetched = append(e.fetched, fetched{slices.Clone(entries), head, err})
}

func (e *memEdge) Close(s godwit.SessionID, code godwit.CloseCode, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed[s] = code
}

func line(e *godwit.Entry) string {
	switch {
	case !e.IsSkip() && (e.Kind == godwit.EntryEdit || e.Kind == godwit.EntryRecall): // its id is a cluster's own
		return draw(e)
	case e.Kind != godwit.EntryMessage || e.IsSkip():
		f := godwit.ServerFrame{Kind: godwit.KindEvent, Event: *e}
		return string(f.AppendTo(nil, godwit.EncodingJSON))
	}
	return fmt.Sprintf("%d %s %s %s", e.Seq, e.Msg.From, e.Msg.Conv, e.Msg.Body)
}

func linesOf(entries []godwit.Entry) (lines []string) {
	for i := range entries {
		lines = append(lines, line(&entries[i]))
	}
	return lines
}

// memRouter is one map.
type memRouter struct {
	mu    sync.Mutex
	users map[godwit.UserID]map[string]godwit.SessionID
	// stamps are those of sessions that have one.
	stamps map[godwit.SessionID]uint64
	// registering, if any, runs before a Register, registered after it.
	registering, registered func(godwit.SessionID)
}

func (r *memRouter) Register(user godwit.UserID, device string, s godwit.SessionID, stamp uint64) (godwit.SessionID, godwit.CloseCode) {
	if r.registering != nil {
		r.registering(s)
	}
	if r.registered != nil {
		defer r.registered(s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users[user] == nil {
		r.users[user] = map[string]godwit.SessionID{}
	}
	old, had := r.users[user][device]
	if had && stamp != 0 && stamp < r.stamps[old] {
		return s, godwit.CloseReplaced
	}
	if stamp != 0 {
		if r.stamps == nil {
			r.stamps = map[godwit.SessionID]uint64{}
		}
		r.stamps[s] = stamp
	}
	r.users[user][device] = s
	if had {
		return old, godwit.CloseReplaced
	}
	return 0, 0
}

func (r *memRouter) Unregister(user godwit.UserID, device string, s godwit.SessionID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users[user][device] == s {
		delete(r.users[user], device)
	}
}

func (r *memRouter) Sessions(user godwit.UserID, dst []godwit.SessionID) []godwit.SessionID {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.users[user] {
		dst = append(dst, s)
	}
	return dst
}

func (r *memRouter) Devices(user godwit.UserID, dst []godwit.DeviceSession) []godwit.DeviceSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, device := range slices.Sorted(maps.Keys(r.users[user])) {
		dst = append(dst, godwit.DeviceSession{Device: device, Session: r.users[user][device]})
	}
	return dst
}

func (r *memRouter) Presence(user godwit.UserID) (bool, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.users[user]) > 0, int64(len(user))
}

// bubble runs f with a served store of some groups and closes all after it.
func bubble(t *testing.T, groups int, change func(*Config), f func(s *served)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &served{t: t, store: newMemStore(groups)}
		s.start(change)
		defer s.close() // also when f ends the test
		f(s)
	})
}

func (s *served) start(change func(*Config)) {
	s.t.Helper()
	s.edge = &memEdge{
		replies: map[uint64][]godwit.ServerFrame{}, welcomes: map[godwit.SessionID][]godwit.Welcome{},
		hints: map[godwit.SessionID][]string{}, last: map[godwit.SessionID]godwit.Entry{}, closed: map[godwit.SessionID]godwit.CloseCode{},
	}
	s.router = &memRouter{users: map[godwit.UserID]map[string]godwit.SessionID{}}
	s.ticks, s.stop = make(chan time.Time), make(chan struct{})
	cfg := Config{
		Machine: s.store.machine, Store: s.store, Edge: s.edge, Router: s.router,
		Ticks: s.ticks, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.service, err = NewService(cfg); err != nil {
		s.t.Fatal(err)
	}
	go s.store.pump(s.stop)
	if err := s.service.Start(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	s.settle()
}

func (s *served) settle() { synctest.Wait() }

// tick lets n ticks pass.
func (s *served) tick(n int) {
	for range n {
		s.ticks <- time.Time{}
		s.settle()
	}
}

func (s *served) close() {
	s.service.Close()
	s.service.Close()
	close(s.stop)
	s.settle()
}

// restart closes the service and starts another over a replay of the commands.
func (s *served) restart() {
	s.t.Helper()
	s.close()
	s.store = s.store.replica()
	s.start(nil)
}

// ask makes one request and returns its only answer.
func (s *served) ask(user godwit.UserID, f *godwit.ClientFrame) godwit.ServerFrame {
	s.t.Helper()
	f.ID = uint64(len(s.edge.replies) + 1)
	s.service.Request(1, user, f)
	s.settle()
	answers := s.edge.replies[f.ID]
	if len(answers) != 1 {
		s.t.Fatalf("%d answers to %+v", len(answers), f)
	}
	return answers[0]
}

func sendFrame(to, cid, text string) *godwit.ClientFrame {
	return &godwit.ClientFrame{Kind: godwit.KindSend, Send: godwit.Send{
		To: []byte(to), CID: []byte(cid), Text: []byte(text), HasText: true,
	}}
}

func (s *served) send(from godwit.UserID, to, cid, text string) godwit.SendReply {
	s.t.Helper()
	r := s.ask(from, sendFrame(to, cid, text))
	if r.Kind != godwit.KindSend {
		s.t.Fatalf("send of %s to %s: %+v", from, to, r.Error)
	}
	return r.Send
}

func (s *served) sync(user godwit.UserID) []string {
	s.t.Helper()
	r := s.ask(user, &godwit.ClientFrame{Kind: godwit.KindSync})
	if r.Kind != godwit.KindSync {
		s.t.Fatalf("sync of %s: %+v", user, r.Error)
	}
	return linesOf(r.Sync.Entries)
}

func (s *served) wantLog(user godwit.UserID, want ...string) {
	s.t.Helper()
	if got := s.sync(user); !slices.Equal(got, want) {
		s.t.Errorf("log of %s is %q, want %q", user, got, want)
	}
}

func (s *served) wantError(r godwit.ServerFrame, want *godwit.Error) {
	s.t.Helper()
	if r.Kind != godwit.KindError || r.Error.Code != want.Code {
		s.t.Errorf("answer %d %+v, want %s", r.Kind, r.Error, want.Code)
	}
}
