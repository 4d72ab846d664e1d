package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// Names of the servers. The floor and gnet speak no WebSocket.
const (
	nameEdge    = "godwit"
	nameGws     = "gws"
	nameGorilla = "gorilla"
	nameCoder   = "coder"
	nameGobwas  = "gobwas"
	nameGnet    = "gnet"
	nameFloor   = "floor"
)

// server listens on a free port of 127.0.0.1 and echoes binary messages at
// /echo, or every byte if it speaks no WebSocket.
type server interface {
	start(s startSpec) (addr string, err error)
	stop()
}

// pusher is a server that writes to its sessions by itself.
type pusher interface {
	// sessions is how many there are.
	sessions() int
	// textBytes is how long a text must be for a message as long as others'.
	textBytes() int
	// push sends one message to a session. No two calls for one session at a
	// time; text is not kept.
	push(session int, text []byte) error
	// broadcast sends one message to all sessions.
	broadcast(text []byte) error
	// hold waits while the server has as much to do as it takes.
	hold()
	// lost is how many messages the server gave up.
	lost() uint64
}

// leveler is a server whose sessions must stand at one place before a broadcast.
type leveler interface{ level() error }

// heldSpec is how many idle connections of a kind there must be.
type heldSpec struct {
	Kind  kind
	Count int
}

// holding is a server that knows what it holds: a poll that was answered at once
// is none that is held.
type holding interface{ held(k kind) int }

const heldLimit = time.Minute

// awaitHeld returns when the server holds them all.
func (h *host) awaitHeld(q heldSpec) error {
	s, ok := h.server.(holding)
	if !ok {
		return nil
	}
	for end := time.Now().Add(heldLimit); s.held(q.Kind) != q.Count; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("the server holds %d connections of kind %s, not %d", s.held(q.Kind), q.Kind, q.Count)
		}
	}
	return nil
}

// counting is a server that knows what it copied.
type counting interface {
	// copied says how many bytes came in, and how many were copied on the way.
	copied() (in, copies uint64)
}

type startSpec struct {
	Sessions int    // about so many connections will come
	Profile  string // file for a CPU profile, empty: none
}

// counters only rise.
type counters struct {
	Allocations uint64
	BytesIn     uint64
	BytesCopied uint64
}

var servers = map[string]func() server{
	nameEdge:    func() server { return new(edgeServer) },
	nameGws:     func() server { return new(gwsServer) },
	nameGorilla: func() server { return new(gorillaServer) },
	nameCoder:   func() server { return new(coderServer) },
	nameGobwas:  func() server { return new(gobwasServer) },
	nameGnet:    func() server { return new(gnetServer) },
}

// host answers for the server of this process.
type host struct {
	server  server
	profile *os.File
}

func newHost(name string) (*host, error) {
	make, known := servers[name]
	if !known {
		return nil, fmt.Errorf("no server is called %q", name)
	}
	return &host{server: make()}, nil
}

func (h *host) close() {
	h.server.stop()
	if h.profile != nil {
		pprof.StopCPUProfile()
		_ = h.profile.Close()
	}
}

func (h *host) answer(q *request, r *response) (err error) {
	switch q.Op {
	case opStart:
		r.Addr, err = h.server.start(q.Start)
		if err == nil && q.Start.Profile != "" {
			err = h.startProfile(q.Start.Profile)
		}
	case opMemory:
		if err := h.awaitHeld(q.Held); err != nil {
			return err
		}
		runtime.GC()
		debug.FreeOSMemory() // what is resident afterwards is needed
		r.Resident, err = residentBytes()
	case opCollect:
		r.Collect = collect(collections)
	case opCounters:
		r.Counters = h.counters()
	case opFlood, opPaced, opBroadcast:
		p, ok := h.server.(pusher)
		if !ok {
			return errors.New("this server does not push")
		}
		r.Push, err = runPush(p, q.Op, q.Push)
	case opLevel:
		if l, ok := h.server.(leveler); ok {
			return l.level()
		}
	default:
		err = errors.New("unknown request")
	}
	return err
}

func (h *host) startProfile(path string) (err error) {
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if h.profile, err = os.Create(path); err != nil {
		return err
	}
	return pprof.StartCPUProfile(h.profile)
}

const collections = 5

// collect runs full collections and returns what each took, in ms.
func collect(times int) (ms []float64) {
	for range times {
		start := time.Now()
		runtime.GC()
		ms = append(ms, float64(time.Since(start).Nanoseconds())/1e6)
	}
	return ms
}

func (h *host) counters() (c counters) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Allocations = m.Mallocs
	if k, ok := h.server.(counting); ok {
		c.BytesIn, c.BytesCopied = k.copied()
	}
	return c
}
