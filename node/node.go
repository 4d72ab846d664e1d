package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/admin"
	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/edge"
	"github.com/godwit-im/godwit/engine"
	"github.com/godwit-im/godwit/hook"
	"github.com/godwit-im/godwit/link"
	"github.com/godwit-im/godwit/presence"
	"github.com/godwit-im/godwit/router/live"
)

// engineDir is where the store lies within the data directory.
const engineDir = "engine"

// stopMax bounds each step of going down that waits for others.
const stopMax = 10 * time.Second

// ErrEdgeEnded is returned by Run when the connection edge gave up by itself.
var ErrEdgeEnded = errors.New("node: the edge ended")

// Node is one running process's worth of Godwit.
type Node struct {
	cfg      Config
	logger   *slog.Logger
	ops      *ops
	store    *engine.Store
	chat     *chat.Service
	presence *presence.Hub
	seen     *live.Journal // when users were last seen; nil: this process has no store
	edge     *edge.Edge    // nil where edge processes hold the clients
	hub      *link.Hub     // nil without link.listen and edges
	client   *link.Client
	edges    *edgeProcesses
	cert     *certificate // nil: no TLS, or it is the edge processes' business
	linkCert *certificate // nil: the link has none
	hook     *hook.Client // nil: there is none
	erasures *erasures    // nil: not open

	directory *directory // nil: the cluster has none
	keyring   *auth.Keyring
	tickets   *auth.Tickets
	admin     atomic.Pointer[admin.Server]
	tiers     atomic.Pointer[Node] // itself once the tiers are up: what metrics may read

	collector *collector // nil: GOGC is set

	budget  int64 // bytes of memory; 0: not known
	drained bool  // clients were asked to move; set by Run

	// fatal takes the store's one report that its disk failed.
	fatal chan error

	closeOnce sync.Once
	closeErr  error
}

// Open starts a node: it listens for operators, recovers the store, starts the
// chat tier and only then accepts clients. Whoever gets a node must Run or
// Close it.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	cfg.Logger = cfg.NewLogger(os.Stderr)
	if cfg.Role == RoleEdge {
		cfg.Logger = cfg.Logger.With("node", cfg.Node) // several may share a standard error
	}
	n := &Node{cfg: cfg, logger: cfg.Logger, fatal: make(chan error, 1)}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// open starts the tiers from the inside out.
func (n *Node) open(ctx context.Context) (err error) {
	if err := raiseFiles(n.logger); err != nil {
		return err
	}
	n.budget = n.cfg.memoryBudget()
	boundHeap(n.budget, n.logger)
	n.collector = newCollector(n.budget, n.logger)
	n.collector.start(nil)
	if n.cfg.Role == RoleEdge {
		err = n.openEdge(ctx)
	} else {
		err = n.openEngine(ctx)
	}
	if err != nil {
		return err
	}
	n.tiers.Store(n)
	n.ops.set(ready)
	n.logger.Info("node ready", "role", n.cfg.Role, "listen", n.Addr(), "ops", n.OpsAddr(), "data", n.cfg.Data, "dev", n.cfg.Dev)
	return nil
}

// openEngine starts a process with a store: with clients of its own, or those of
// edge processes, or both.
func (n *Node) openEngine(ctx context.Context) error {
	series := [][]series{authSeries(), chatSeries(), hookSeries(), presenceSeries(), engineSeries()}
	if n.cfg.holdsClients() {
		series = append(series, edgeSeries(), tlsSeries())
	}
	if n.cfg.linked() {
		series = append(series, hubSeries())
	}
	if err := n.startOps(series...); err != nil {
		return err
	}
	if err := n.openDirectory(ctx); err != nil {
		return err
	}
	if err := n.startAuth(ctx); err != nil {
		return err
	}
	verifier := &auth.Verifier{Keyring: n.keyring, Tickets: n.tickets}
	machine := chat.NewMachine(n.cfg.Engine.Groups)
	store, service := &storeAdapter{groups: n.cfg.Engine.Groups}, &chatAdapter{}
	router, err := live.New(live.Config{Clock: n.now, SessionsMax: int(n.cfg.Limits.Sessions), Changed: n.presenceChanged})
	if err != nil {
		return err
	}
	if n.cfg.holdsClients() {
		if n.edge, err = edge.New(n.edgeConfig(service, verifier, n.budget)); err != nil {
			return err
		}
	}
	clients, err := n.clients(service, router)
	if err != nil {
		return err
	}
	if n.presence, err = n.newPresence(router, clients, service); err != nil {
		return err
	}
	if n.hook, err = n.newHook(); err != nil {
		return err
	}
	if n.chat, err = chat.NewService(n.chatConfig(machine, store, clients, router)); err != nil {
		return err
	}
	service.Service = n.chat
	if n.store, err = engine.Open(n.engineConfig(), machineAdapter{machine}); err != nil {
		return err
	}
	store.store = n.store
	n.openLastSeen(router) // the file is this process's as the store is
	if err := n.chat.Start(ctx); err != nil {
		return err
	}
	n.presence.Start()
	if err := n.startAdmin(); err != nil {
		return err
	}
	if err := n.serveEdges(ctx); err != nil {
		return err
	}
	if n.edge != nil {
		if err := n.edge.Start(); err != nil {
			return err
		}
		n.directory.serve(n.edge)
	}
	return nil
}

// startOps opens the operators' endpoint, and reads the certificate that it shows
// figures of. What has a store can be backed up there.
func (n *Node) startOps(list ...[]series) (err error) {
	routes := map[string]http.Handler{}
	if n.cfg.Role != RoleEdge {
		routes["POST "+BackupPath] = http.HandlerFunc(n.serveBackup)
		routes["GET "+EdgesPath] = http.HandlerFunc(n.serveEdgeList)
		routes[admin.Prefix] = http.HandlerFunc(n.serveAdmin)
	}
	maps.Copy(routes, n.cfg.OpsRoutes)
	registry := newRegistry(n.snapshot, slices.Concat(append(list, n.cfg.directorySeries())...))
	if n.cfg.directory() {
		routes["GET "+DirectoryPath] = http.HandlerFunc(n.serveDirectory)
		registry.MustRegister(newDirectoryCollector(n.snapshot))
	}
	if n.cfg.TLS.Cert != "" && n.cfg.holdsClients() {
		if n.cert, err = loadCertificate(n.cfg.TLS.files(), n.cfg.Clock, n.logger); err != nil {
			return err
		}
		n.cert.start(n.cfg.certificateLooks)
		registry.MustRegister(certificateMetrics("tls", n.cert)...)
	}
	if files, ok := n.cfg.linkFiles(); ok {
		if n.linkCert, err = loadCertificate(files, n.cfg.Clock, n.logger.With("tier", "link")); err != nil {
			return err
		}
		n.linkCert.start(n.cfg.certificateLooks)
		registry.MustRegister(certificateMetrics("link", n.linkCert)...)
	}
	n.ops, err = startOps(n.cfg.Ops, routes, registry, n.degraded, n.logger)
	return err
}

// degraded says why a process that is ready is not well; empty: it is.
func (n *Node) degraded() string {
	if n.tiers.Load() != nil && n.directory != nil && n.directory.away() {
		return "the store of the cluster's directory is away; sessions and messages go on"
	}
	return ""
}

func (n *Node) now() int64 { return n.cfg.Clock().UnixMilli() }

func (n *Node) edgeConfig(service edge.Chat, verifier edge.Verifier, budget int64) edge.Config {
	echo := ""
	if n.cfg.Dev {
		echo = n.cfg.EchoPath
	}
	proxies, _ := n.cfg.Edge.proxies() // Validate has seen them
	var secure *tls.Config
	if n.cert != nil {
		secure = n.cert.config()
	}
	cfg := edge.Config{
		EchoPath:         echo,
		Listen:           n.cfg.Listen,
		ReusePort:        n.cfg.Edge.ReusePort,
		Loops:            n.cfg.Edge.Loops,
		Node:             n.cfg.Node,
		Limits:           n.cfg.limits(),
		PingEvery:        time.Duration(n.cfg.Edge.Ping),
		OutboundBytesMax: int(n.cfg.Edge.Outbound),
		ConnectionsMax:   n.cfg.Edge.Connections,
		TLS:              secure,
		TLSListen:        n.cfg.TLS.Listen,
		TrustedProxies:   proxies,
		PerSourceMax:     n.cfg.Edge.PerSource,
		HandshakesMax:    n.cfg.Edge.Handshakes,
		MemoryMax:        budget,
		HeadTimeout:      time.Duration(n.cfg.Edge.HeadTime),
		TokenTimeout:     time.Duration(n.cfg.Edge.TokenTime),
		CloseTimeout:     time.Duration(n.cfg.Edge.CloseTime),
		Deflate:          edge.DeflateConfig{Enabled: n.cfg.Edge.Deflate, MinBytes: int(n.cfg.Edge.DeflateMin), Level: n.cfg.Edge.DeflateLevel},
		Origins:          n.cfg.Edge.Origins,
		LoopbackHostOnly: n.cfg.Dev,
		Static:           n.cfg.Static,
		PagePolicy:       n.pagePolicy(),
		Chat:             service,
		Verifier:         verifier,
		Tickets:          n.ticketIssuer(),
		Advertise:        n.cfg.Edge.Advertise,
		Clock:            n.now,
		Logger:           n.logger.With("tier", "edge"),
	}
	n.directory.tune(&cfg)
	return cfg
}

func (n *Node) ticketIssuer() edge.Tickets {
	if n.client != nil {
		return n.client
	}
	return n.tickets
}

func (cfg *Config) limits() godwit.Limits {
	l := &cfg.Limits
	return godwit.Limits{
		Frame: uint32(l.Frame), Body: uint32(l.Body), InFlight: l.InFlight, SendPerS: l.SendPerS,
		Page: l.Page, Presence: l.Presence, Watch: l.Watch, Window: l.Window,
		RPC: l.RPC, Wait: l.Wait, Sessions: l.Sessions, FramesPerS: l.FramesPerS,
		Members: cfg.Policy.Members, Groups: cfg.Policy.Groups, Edit: uint32(time.Duration(cfg.Policy.EditWindow) / time.Second),
	}
}

// pagePolicy lets a page load and call what came with it, and what was added to
// the ops endpoint for it.
func (n *Node) pagePolicy() string {
	policy := "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if len(n.cfg.OpsRoutes) > 0 {
		policy += "; connect-src 'self' http://" + Reachable(n.OpsAddr())
	}
	return policy
}

func (n *Node) engineConfig() engine.Config {
	cfg := engine.Config{
		Dir:           filepath.Join(n.cfg.Data, engineDir),
		Groups:        n.cfg.Engine.Groups,
		Clock:         n.now,
		QueueBytesMax: int(n.cfg.Engine.Queue),
		MemtableBytes: int64(n.cfg.Engine.Memtable),
		WALBytesMax:   int64(n.cfg.Engine.WAL),
		CacheBytes:    int64(n.cfg.Engine.Cache),
		RecentBytes:   int64(n.cfg.Engine.Recent),
		RowCacheBytes: int64(n.cfg.Engine.RowCache),
		EraseWithin:   time.Duration(n.cfg.Engine.EraseWithin),
		NoCompression: !n.cfg.Engine.Compress,
		Logger:        n.logger.With("tier", "engine"),
		Fatal:         func(err error) { n.fatal <- err },
	}
	if cfg.ScrubBytesPerSecond = int64(n.cfg.Engine.ScrubRate); cfg.ScrubBytesPerSecond == 0 {
		cfg.ScrubBytesPerSecond = -1
	}
	if n.cfg.tuneEngine != nil {
		n.cfg.tuneEngine(&cfg)
	}
	return cfg
}

// Reachable turns a listening address into one to connect to from this machine.
func Reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Addr is the public address, with the real port: this process's or, with edges,
// the one they share. "" in an engine process that serves others' clients only.
func (n *Node) Addr() string {
	switch {
	case n.edge != nil:
		return n.edge.Addr()
	case n.edges != nil:
		return n.edges.listen
	}
	return ""
}

// TLSAddr is the address of TLS, with the real port; empty: there is none.
func (n *Node) TLSAddr() string {
	switch {
	case n.edge != nil:
		return n.edge.TLSAddr()
	case n.edges != nil:
		return n.edges.tlsListen
	}
	return ""
}

// OpsAddr is the operators' address, with the real port.
func (n *Node) OpsAddr() string { return n.ops.listener.Addr().String() }

// Run serves until ctx ends, and then goes down without losing anything:
// newcomers are turned away, clients are asked to move, what was sent is
// answered, the store closes. A failed disk or edge ends it at once with an
// error. Either way the node is closed when Run returns.
func (n *Node) Run(ctx context.Context) error {
	var failure error
	select {
	case <-ctx.Done():
		failure = n.drain()
	case err := <-n.fatal:
		failure = storeFailure(err)
	case <-n.edgeDone():
		failure = ErrEdgeEnded
	case <-n.directory.superseded():
		failure = ErrSuperseded
	case <-n.clientDone():
		failure = fmt.Errorf("the link to the engine process ended: %w", n.client.Err())
	}
	if failure != nil {
		n.ops.set(failed)
		n.logger.Error("node failed", "err", failure)
	}
	return errors.Join(failure, n.Close())
}

// edgeDone and clientDone are nil, and so never ready, where there is none.
func (n *Node) edgeDone() <-chan struct{} {
	if n.edge == nil {
		return nil
	}
	return n.edge.Done()
}

func (n *Node) clientDone() <-chan struct{} {
	if n.client == nil {
		return nil
	}
	return n.client.Done()
}

func storeFailure(err error) error {
	return fmt.Errorf("the store failed, and nothing after it was acknowledged: %w", err)
}

// drain asks the clients to move; readiness goes first, so that no load
// balancer sends new ones. A store that fails meanwhile ends it: there is
// nothing left to wait for.
func (n *Node) drain() error {
	n.ops.set(draining)
	n.logger.Info("node drains", "after", n.cfg.Drain.After.String(), "spread", n.cfg.Drain.Spread.String())
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n.cfg.Drain.Timeout))
	defer cancel()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		n.directory.leave(ctx)
		n.drainClients(ctx, time.Duration(n.cfg.Drain.After), time.Duration(n.cfg.Drain.Spread))
	}()
	select {
	case <-drained:
		n.drained = true
		select {
		case err := <-n.fatal:
			return storeFailure(err)
		default:
			return nil
		}
	case err := <-n.fatal:
		cancel()
		<-drained
		return storeFailure(err)
	}
}

// Close takes the tiers down from the outside in, without asking clients to
// move first. It is idempotent and returns when every goroutine has ended.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	var errs []error
	if n.ops != nil {
		n.ops.turn(ready, draining)
	}
	if n.keyring != nil {
		n.keyring.Close() // first: no token may hold up the edge by waiting for keys
	}
	if n.hub != nil && !n.drained {
		n.hub.Stop() // ends all sessions at once, and edge processes then have none to wait for
	}
	if n.edges != nil {
		n.edges.stop()
	}
	if n.edge != nil {
		errs = append(errs, n.edge.Stop(ctx))
	}
	n.cert.close()
	errs = append(errs, n.directory.close())
	n.linkCert.close()
	if n.client != nil {
		n.client.Close()
	}
	if n.hub != nil {
		n.hub.Stop()
	}
	if n.presence != nil {
		n.presence.Close() // it reads through chat
	}
	if n.chat != nil {
		n.chat.Close()
	}
	if n.seen != nil {
		n.seen.Close() // by now all sessions have ended that did
	}
	if n.hook != nil {
		n.hook.Close()
	}
	if n.erasures != nil {
		errs = append(errs, n.erasures.close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.ops != nil {
		errs = append(errs, n.ops.close())
	}
	n.collector.close()
	n.logger.Info("node closed")
	return errors.Join(errs...)
}
