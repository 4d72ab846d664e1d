package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge"
	"github.com/godwit-im/godwit/router/live"
)

// edgeServer is the product's edge with the real router behind it and a chat
// tier that opens every session and stores nothing.
type edgeServer struct {
	edge *edge.Edge
	chat *edgeChat
}

func (s *edgeServer) start(spec startSpec) (string, error) {
	router, err := live.New(live.Config{})
	if err != nil {
		return "", err
	}
	s.chat = &edgeChat{router: router, ids: make([]godwit.SessionID, 0, spec.Sessions), heads: make([]godwit.Seq, spec.Sessions)}
	// What is pushed is not acknowledged: the window is as wide as it gets.
	limits := godwit.Limits{Window: 1 << 20}
	s.edge, err = edge.New(edge.Config{
		Listen: "127.0.0.1:0", EchoPath: echoPath, PingEvery: 40 * time.Second,
		Chat: s.chat, Verifier: edgeVerifier{}, Limits: limits, WindowBytesMax: 1 << 30,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return "", err
	}
	s.chat.edge = s.edge
	if err := s.edge.Start(); err != nil {
		return "", err
	}
	return s.edge.Addr(), nil
}

func (s *edgeServer) stop() {
	if s.edge == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = s.edge.Stop(ctx)
}

func (s *edgeServer) sessions() int { return s.chat.count() }

func (s *edgeServer) textBytes() int { return pushBytes }

// push shows a session the next entry of its log.
func (s *edgeServer) push(session int, text []byte) error {
	c := s.chat
	c.heads[session]++
	entry := eventOf(c.heads[session], text)
	s.edge.Deliver(c.ids[session:session+1], &entry)
	return nil
}

// broadcast delivers one entry to all: their logs are at the same head then, or
// the entry is no news to some.
func (s *edgeServer) broadcast(text []byte) error {
	c := s.chat
	n := c.count()
	for i := range n {
		if c.heads[i] != c.heads[0] {
			return fmt.Errorf("session %d is at %d, session 0 at %d: a broadcast needs one head", i, c.heads[i], c.heads[0])
		}
	}
	for i := range n {
		c.heads[i]++
	}
	entry := eventOf(c.heads[0], text)
	s.edge.Deliver(c.ids[:n], &entry)
	return nil
}

// level pushes to the sessions that are behind until all logs have one head.
func (s *edgeServer) level() error {
	c := s.chat
	heads := c.heads[:c.count()]
	most := slices.Max(heads)
	text := newText(pushBytes)
	for i := range heads {
		for heads[i] < most {
			s.hold()
			if err := s.push(i, text); err != nil {
				return err
			}
		}
	}
	for s.edge.Stats().QueueItems > 0 {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// queueMax is how many items may wait in the edge's mailboxes while flooding; a
// mailbox drops hints above 131,072.
const queueMax = 98_304

// hold sleeps long enough to cost nothing: what the loop is working on meanwhile
// is no longer in the queue, and as much.
func (s *edgeServer) hold() {
	for s.edge.Stats().QueueItems > queueMax {
		time.Sleep(2 * time.Millisecond)
	}
}

// lost counts hints that came to nothing; their sessions would have to fetch.
func (s *edgeServer) lost() uint64 { return s.edge.Stats().HintsLost }

func (s *edgeServer) held(k kind) int {
	st := s.edge.Stats()
	if k == kindPoll {
		return int(st.Polls)
	}
	return int(st.Sessions)
}

func (s *edgeServer) copied() (in, copies uint64) {
	st := s.edge.Stats()
	return st.BytesIn, st.CopiedIn
}

func eventOf(seq godwit.Seq, text []byte) godwit.Entry {
	return godwit.Entry{Seq: seq, Msg: godwit.Message{
		MID: godwit.MessageID{1, 2, 3, 4, 5, 6, 7, 8}, Conv: []byte("u:alice"), From: []byte("alice"),
		Time: 1795417297200, Body: text, Text: true,
	}}
}

// edgeChat opens every session at once.
type edgeChat struct {
	edge   *edge.Edge
	router *live.Router

	mu    sync.Mutex
	ids   []godwit.SessionID
	heads []godwit.Seq // by index of ids; only the pushing goroutine of a session touches it
}

func (c *edgeChat) Connect(s godwit.SessionID, hello edge.Hello) {
	c.router.Register(hello.User, hello.Device, s, hello.Stamp)
	c.mu.Lock()
	c.ids = append(c.ids, s)
	if len(c.heads) < len(c.ids) {
		c.heads = append(c.heads, 0)
	}
	c.mu.Unlock()
	// Nothing is stored: a client that goes on has missed nothing.
	c.edge.Connected(s, godwit.Welcome{Epoch: "bench", Head: hello.ResumeSeq, Start: hello.ResumeSeq, Resumed: hello.Resume})
}

func (c *edgeChat) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ids)
}

func (c *edgeChat) Disconnect(s godwit.SessionID, user godwit.UserID, device string) {
	c.router.Unregister(user, device, s)
}

func (c *edgeChat) Request(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
	c.edge.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindError, Error: godwit.ErrFrameUnknown.Reply(0)})
}

// Fetch finds nothing: what was not delivered counts as lost.
func (c *edgeChat) Fetch(s godwit.SessionID, _ godwit.UserID, after godwit.Seq, _, _ int) {
	c.edge.Fetched(s, nil, after, nil)
}

// edgeVerifier takes the token's own word for who it is.
type edgeVerifier struct{}

func (edgeVerifier) Verify(token []byte) (godwit.Identity, error) {
	user, ok := strings.CutPrefix(string(token), tokenPrefix)
	if !ok {
		return godwit.Identity{}, errors.New("no token of this benchmark")
	}
	return godwit.Identity{User: godwit.UserID(user), Expires: time.Now().Add(time.Hour).UnixMilli()}, nil
}
