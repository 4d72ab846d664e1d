package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
	"github.com/panjf2000/gnet/v2"
)

// ErrStopped is returned by Start after Stop, and by Err when Stop ended it all.
var ErrStopped = errors.New("edge: stopped")

// Edge holds the connections of one process. Its methods may be called from any
// goroutine.
type Edge struct {
	cfg             Config
	ticks           tickCounts
	window          window
	pollWindow      window
	ws, echoWS      [2]ws.Config // [1]: with permessage-deflate
	deflater        *ws.Deflater // nil: not configured
	pings           [2][]byte    // the ping frame, by encoding bit
	loops           []*loop
	verify          verifiers
	codecs          codecs
	attachment      atomic.Uint32 // see Hold
	announcePerTick int           // by one loop
	sorting         sync.Pool     // *[]godwit.SessionID, see spread
	admission       admission
	web             webServer
	connectionsMax  int
	engine          gnet.Engine
	addr            string
	tls             *tls.Config
	tlsAddr         *net.TCPAddr  // nil: no TLS
	shakeCPU        chan struct{} // handshakes that compute; see shakeCores
	shakes          sync.WaitGroup
	proxyWarned     atomic.Uint32 // tick of the last warning about a proxy; 0: none

	tick     atomic.Uint32 // monotonic time in ticks
	open     atomic.Int64  // sockets, counted by all loops
	overload atomic.Uint64 // connections over the limit, closed at once
	crowded  atomic.Uint64 // connections of a source that had enough, likewise
	draining atomic.Bool
	paused   atomic.Bool   // see Suspend
	yielded  chan *loop    // loops with work left; each is in it at most once
	empty    chan struct{} // a hint that open has come down to 0
	ready    sync.Once
	started  chan struct{}
	done     chan struct{} // closed when everything has ended

	goaway atomic.Pointer[goaway]

	adoptMu sync.Mutex // never taken while holding another
	byLoop  map[gnet.EventLoop]*loop

	mu    sync.Mutex
	phase phase

	err error // set before done is closed
}

type phase uint8

const (
	phaseNew phase = iota
	phaseRunning
	phaseStopped
)

// New checks the configuration; nothing runs before Start.
func New(cfg Config) (*Edge, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	room, err := connectionsRoom(cfg.FilesReserved)
	if err != nil {
		return nil, err
	}
	e := &Edge{
		cfg:             cfg,
		ticks:           newTickCounts(&cfg),
		window:          window{cfg.Limits.Window, uint32(cfg.WindowBytesMax)},
		ws:              wsConfigs(int(cfg.Limits.Frame), fragmentsMax),
		echoWS:          wsConfigs(echoBytesMax, echoFragmentsMax),
		pollWindow:      window{pollFramesMax, pollBytesMax},
		connectionsMax:  room,
		announcePerTick: max(1, cfg.AnnouncePerS/ticksPerSecond/cfg.Loops),
		yielded:         make(chan *loop, cfg.Loops),
		empty:           make(chan struct{}, 1),
		started:         make(chan struct{}),
		done:            make(chan struct{}),
		byLoop:          map[gnet.EventLoop]*loop{},
	}
	if cfg.Deflate.Enabled {
		e.deflater = ws.NewDeflater(cfg.Deflate.MinBytes, cfg.Deflate.Level)
		e.codecs.deflater = e.deflater
	}
	e.web = webServer{edge: e, jobs: make(chan webJob, webQueueMax)}
	e.verify.jobs = make(chan verifyJob, cfg.VerifyQueueMax)
	e.admission.sessions = cfg.Sessions
	e.admission.sources.max = uint32(cfg.PerSourceMax)
	e.admission.handshakesMax = int64(cfg.HandshakesMax)
	e.admission.memory = memory{budget: cfg.MemoryMax, read: cfg.readMemory, open: &e.open}
	if cfg.ConnectionsMax > 0 {
		e.connectionsMax = min(room, cfg.ConnectionsMax)
	}
	e.tick.Store(uint32(cfg.monotonic() / tickMS))
	for i := range cfg.Loops {
		e.loops = append(e.loops, &loop{edge: e, index: i, now: e.tick.Load(), codec: codec{deflater: e.deflater}})
		e.loops[i].wheel.now = e.tick.Load()
	}
	var c codec
	for _, enc := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		e.pings[formOf(enc)] = c.appendFrame(nil, formOf(enc), &godwit.ServerFrame{Kind: godwit.KindPing})
	}
	return e, nil
}

// wsConfigs is what messages are held to without and with permessage-deflate.
func wsConfigs(messageMaxBytes, fragmentsMax int) [2]ws.Config {
	plain := ws.Config{MessageMaxBytes: messageMaxBytes, FragmentsMax: fragmentsMax}
	deflate := plain
	deflate.Deflate = true
	return [2]ws.Config{plain, deflate}
}

// connectionsRoom is what RLIMIT_NOFILE leaves for connections.
func connectionsRoom(reserved int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("edge: read the limit of open files: %w", err)
	}
	room := int64(min(limit.Cur, 1<<31)) - int64(reserved)
	if room < 1 {
		return 0, fmt.Errorf("edge: the limit of %d open files leaves nothing beyond the %d reserved; raise it (ulimit -n)", limit.Cur, reserved)
	}
	return int(room), nil
}

// Start listens and returns once connections are accepted.
func (e *Edge) Start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != phaseNew {
		return ErrStopped
	}
	plain, err := findPlace(e.cfg.Listen, e.cfg.ReusePort)
	if err != nil {
		return fmt.Errorf("edge: listen on %s: %w", e.cfg.Listen, err)
	}
	defer plain.release()
	e.addr = plain.addr
	if e.cfg.TLS != nil {
		secure, err := e.listenTLS()
		if err != nil {
			return err
		}
		defer secure.release()
	}
	e.phase = phaseRunning
	e.verify.start(verifyWorkers, e.cfg.Verifier, func(s godwit.SessionID, v verdict) {
		e.boxOf(s).note(item{kind: itemVerified, session: s}, v)
	})
	e.web.start(webWorkers)
	go e.run()
	select {
	case <-e.started:
		return nil
	case <-e.done:
		return fmt.Errorf("edge: listen on %s: %w", e.addr, e.err)
	}
}

// run is the engine and the goroutines beside it, from start to end. Each loop
// accepts for itself: then OnOpen runs before the next accept on that loop.
func (e *Edge) run() {
	var yields, watch sync.WaitGroup
	yields.Go(func() {
		for l := range e.yielded {
			l.box.rewake()
		}
	})
	unwatch := make(chan struct{})
	if e.cfg.MemoryMax > 0 {
		looks := time.NewTicker(e.cfg.lookEvery)
		defer looks.Stop()
		watch.Go(func() { e.watchMemory(looks.C, unwatch) })
	}
	addrs := []string{gnetAddress(e.addr)}
	if e.tlsAddr != nil {
		addrs = append(addrs, gnetAddress(e.tlsAddr.String()))
	}
	err := gnet.Rotate(handler{e}, addrs,
		gnet.WithNumEventLoop(e.cfg.Loops), gnet.WithReusePort(true), gnet.WithReuseAddr(true),
		gnet.WithTicker(true), gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogger(gnetLogger{e.cfg.Logger}))
	for _, l := range e.loops {
		l.box.close()
	}
	close(unwatch)
	watch.Wait()
	e.shakes.Wait() // their connections are closed
	close(e.yielded)
	yields.Wait()
	e.verify.stop()
	e.web.stop()
	e.err = err
	if err == nil {
		e.err = ErrStopped
	}
	close(e.done)
}

// Addr is the address that is listened on, after Start.
func (e *Edge) Addr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addr
}

// TLSAddr is the address of the TLS listener, after Start; empty: there is none.
func (e *Edge) TLSAddr() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tlsAddr == nil {
		return ""
	}
	return e.tlsAddr.String()
}

// Done is closed when the edge has ended: by Stop, or because the engine gave
// up (the system ran out of files or memory), and then the process should end.
func (e *Edge) Done() <-chan struct{} { return e.done }

// Drain refuses newcomers (503) or, where others share the port, leaves them to
// those; asks every session to move, after a wait and
// spread over a time, and returns when all are gone. When ctx ends first, those
// left are closed with 4300.
func (e *Edge) Drain(ctx context.Context, after, spread time.Duration) {
	if e.cfg.ReusePort {
		e.leavePort()
	}
	e.Goaway(after, spread) // before anything is answered because we drain
	e.draining.Store(true)
	if !e.awaitEmpty(ctx) {
		e.closeAll()
	}
}

// closeAll closes every connection with 4300 and gives the clients a moment to
// see it.
func (e *Edge) closeAll() {
	e.draining.Store(true)
	for _, l := range e.loops {
		l.box.put(item{kind: itemCloseAll, extra: uint32(godwit.CloseDrain)}, appendReason(nil, "drain", 0))
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	e.awaitEmpty(ctx)
}

const closeGrace = time.Second

// awaitEmpty waits until no connection is left; false if ctx ended first.
func (e *Edge) awaitEmpty(ctx context.Context) bool {
	for e.open.Load() > 0 {
		select {
		case <-e.empty:
		case <-e.done:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Stop closes every connection with 4300 and returns when all goroutines have
// ended, or with ctx's error. It may be called more than once.
func (e *Edge) Stop(ctx context.Context) error {
	e.mu.Lock()
	was := e.phase
	e.phase = phaseStopped
	e.mu.Unlock()
	if was == phaseNew {
		return nil
	}
	if was == phaseRunning {
		e.closeAll()
		gone, cancel := context.WithCancel(ctx)
		cancel() // gnet polls for its own end twice a second: done says it at once
		_ = e.engine.Stop(gone)
	}
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loopOf finds the share of a gnet loop, which is taken at its first connection.
func (e *Edge) loopOf(events gnet.EventLoop) *loop {
	e.adoptMu.Lock()
	defer e.adoptMu.Unlock()
	l := e.byLoop[events]
	if l == nil {
		l = e.loops[len(e.byLoop)]
		e.byLoop[events] = l
		l.adopt(events)
	}
	return l
}
