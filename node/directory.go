package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit/edge"
	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/tikv"
)

// ErrSuperseded is returned by Run when another process has taken this one's name in
// the cluster's directory: its sessions are to find another place.
var ErrSuperseded = errors.New("node: another process of the cluster has this one's name; give each process a name (node) of its own")

// Times of a process's part in the directory.
const (
	claimWait   = 2 * time.Second // a start waits so long for the directory to know of it
	leaveWait   = 1500 * time.Millisecond
	leaveEvery  = 50 * time.Millisecond
	releaseWait = time.Second
)

// directory is this process's part in the directory of its cluster. No client waits
// for the store behind it.
type directory struct {
	cfg    *Config
	logger *slog.Logger
	store  router.Store
	*router.Directory
	stamps *stamps

	engine *router.Lease // of an engine process, once it takes edge processes
	// What follows is of a process that holds clients.
	lease     *router.Lease
	registrar *router.Registrar
	sessions  *sessionBook
	holder    atomic.Pointer[edge.Edge]
	taking    atomic.Bool // newcomers
	leaves    atomic.Bool // for good
	changed   chan struct{}
	resolved  atomic.Pointer[string] // where the engine process is

	ctx     context.Context // ends the goroutines
	end     context.CancelFunc
	running sync.WaitGroup
}

// openDirectory opens the store, which may be away: everything here goes on in the
// background until it is back.
func (n *Node) openDirectory(ctx context.Context) (err error) {
	if !n.cfg.directory() {
		return nil
	}
	d := &directory{cfg: &n.cfg, logger: n.logger.With("tier", "router")}
	open := n.cfg.openStore
	if open == nil {
		open = openTiKV
	}
	if d.store, err = open(ctx, &n.cfg.Router, d.logger); err != nil {
		return fmt.Errorf("the directory's store: %w", err)
	}
	d.Directory, err = router.Open(router.Config{
		Store: d.store, Cluster: n.cfg.Router.Cluster, Timeout: time.Duration(n.cfg.Router.Timeout), Logger: d.logger,
	})
	if err != nil {
		return errors.Join(err, d.store.Close())
	}
	d.ctx, d.end = context.WithCancel(context.Background())
	n.directory = d
	if n.cfg.Router.Collect {
		d.running.Go(func() { d.RunCollection(d.ctx, n.cfg.Node) })
	}
	if !n.cfg.holdsClients() {
		return nil
	}
	clock := &storeClock{ask: d.store.Now, now: n.cfg.Clock}
	d.stamps = newStamps(clock.milliseconds)
	d.running.Go(func() { clock.run(d.ctx) })
	return d.claimEdge(ctx)
}

func openTiKV(ctx context.Context, cfg *RouterConfig, logger *slog.Logger) (router.Store, error) {
	return tikv.Open(ctx, tikv.Config{
		PD: cfg.PD, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key, Timeout: time.Duration(cfg.Timeout), Logger: logger,
	})
}

// away reports whether the store is not asked at present: what changes waits, and
// clients notice nothing.
func (d *directory) away() bool {
	if s, ok := d.store.(*tikv.Store); ok {
		return s.State() != tikv.BreakerClosed
	}
	return d.registrar != nil && d.registrar.Stats().Away
}

// tune has an edge keep to the directory.
func (d *directory) tune(cfg *edge.Config) {
	if d != nil && d.lease != nil {
		cfg.Sessions, cfg.Assigner, cfg.Stamp = d.sessions, d, d.stamps.next
	}
}

// leave tells the others that no newcomers are taken any more, and waits a little for
// them to hear of it.
func (d *directory) leave(ctx context.Context) {
	if d == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWait)
	defer cancel()
	if d.engine != nil {
		_ = d.engine.Drain(ctx) // else the next beat tells it
	}
	if d.lease == nil {
		return
	}
	d.leaves.Store(true)
	d.takeNoClients()
	look := time.NewTicker(leaveEvery)
	defer look.Stop()
	for !d.away() && !d.leaving() {
		select {
		case <-look.C:
		case <-d.lease.Superseded():
			return
		case <-ctx.Done():
			return
		}
	}
}

// leaving reports whether the directory says of this edge that it takes nobody.
func (d *directory) leaving() bool {
	number, _ := d.lease.ID()
	p, ok := d.View().Edge(number)
	return ok && p.State != router.StateUp
}

// superseded is nil, and so never ready, where there is no lease to lose.
func (d *directory) superseded() <-chan struct{} {
	switch {
	case d == nil:
		return nil
	case d.lease != nil:
		return d.lease.Superseded()
	case d.engine != nil:
		return d.engine.Superseded()
	}
	return nil
}

// close gives up what this process has in the directory: by its lease all its routes
// end at once.
func (d *directory) close() error {
	if d == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseWait)
	defer cancel()
	d.end()
	d.running.Wait()
	if d.registrar != nil {
		d.registrar.Close()
	}
	for _, lease := range []*router.Lease{d.lease, d.engine} {
		if lease == nil {
			continue
		}
		if err := lease.Release(ctx); err != nil {
			d.logger.Info("the lease in the directory was not given back", "err", err) // others see the beat stand still
		}
	}
	return errors.Join(d.Directory.Close(), d.store.Close())
}
