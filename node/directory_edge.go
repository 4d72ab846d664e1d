package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge"
	"github.com/godwit-im/godwit/router"
)

// claimEdge has this process known as an edge that takes nobody yet, and waits a
// little for that; while the store is away it goes on without.
func (d *directory) claimEdge(ctx context.Context) (err error) {
	d.lease, err = d.ClaimEdge(router.Member{Name: d.cfg.Node, State: router.StateDraining, Zone: d.cfg.Edge.Zone, Version: d.cfg.Program}, d.load)
	if err != nil {
		return err
	}
	d.registrar, err = d.NewRegistrar(router.RegistrarConfig{
		Lease: d.lease, Rate: d.cfg.Router.RegisterPerS, Superseded: d.elsewhere, Logger: d.logger,
	})
	if err != nil {
		return err
	}
	d.sessions = newSessionBook(d.registrar)
	d.running.Go(func() { d.sessions.run(d.ctx) })
	d.changed = make(chan struct{}, 1)
	d.running.Go(d.tellState)
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	if err := d.lease.Beat(ctx); err != nil {
		d.logger.Warn("the directory does not know this edge process yet; it goes on without", "err", err)
	}
	return nil
}

// load is what a beat tells.
func (d *directory) load() router.Load {
	e := d.holder.Load()
	if e == nil {
		return router.Load{}
	}
	stats := e.Stats()
	return router.Load{Sessions: stats.Sessions + stats.Polls, Capacity: uint64(max(0, d.cfg.Edge.Connections))}
}

// serve tells the others that clients are taken here from now on.
func (d *directory) serve(e *edge.Edge) {
	if d == nil {
		return
	}
	d.holder.Store(e)
	d.take(true)
}

// attached is for when the engine process is there, takeNoClients for when it is not:
// clients are sent to other edges meanwhile. Neither waits.
func (d *directory) attached() {
	if d == nil {
		return
	}
	if at := d.resolved.Load(); at != nil {
		d.remember(*at)
	}
	d.take(true)
}

func (d *directory) takeNoClients() {
	if d != nil {
		d.take(false)
	}
}

func (d *directory) take(clients bool) {
	d.taking.Store(clients)
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// tellState has the others hear of the newest state. What fails is told by the next
// beat.
func (d *directory) tellState() {
	for {
		select {
		case <-d.changed:
		case <-d.ctx.Done():
			return
		}
		if e := d.holder.Load(); d.taking.Load() && e != nil && !d.leaves.Load() {
			_ = d.lease.Serve(d.ctx, d.url(e))
		} else {
			_ = d.lease.Drain(d.ctx)
		}
	}
}

// url is where clients reach this edge.
func (d *directory) url(e *edge.Edge) string {
	switch {
	case d.cfg.Edge.Advertise != "":
		return d.cfg.Edge.Advertise
	case e.TLSAddr() != "" && specific(d.cfg.TLS.Listen):
		return "wss://" + e.TLSAddr() + edge.SocketPath
	}
	host, _, _ := net.SplitHostPort(d.cfg.Listen)
	_, port, _ := net.SplitHostPort(e.Addr())
	return "ws://" + net.JoinHostPort(host, port) + edge.SocketPath
}

// elsewhere ends a session whose device has a newer one at another edge.
func (d *directory) elsewhere(_ string, r router.Route) {
	if e := d.holder.Load(); e != nil {
		e.Close(godwit.SessionID(r.Conn), godwit.CloseReplaced, "replaced")
	}
}

// assignedMax bounds the edges that a client is told.
const assignedMax = 8

// Assign says which edges a user should use. It is edge.Assigner.
func (d *directory) Assign(user godwit.UserID) (list []edge.Assigned) {
	urls := map[string]bool{}
	for _, p := range d.View().Assign(string(user)) {
		if p.URL == "" || urls[p.URL] || len(list) == assignedMax {
			continue
		}
		urls[p.URL] = true
		list = append(list, edge.Assigned{URL: p.URL, Node: p.Name, Zone: p.Zone})
	}
	return list
}

// leaseEpoch is what the engine process is told; 0 before the claim.
func (d *directory) leaseEpoch() uint64 {
	if d == nil {
		return 0
	}
	_, epoch := d.lease.ID()
	return epoch
}

// upstreamFile remembers in the data directory where the engine process was, for a
// start while the store is away.
const upstreamFile = "engine-address"

func (d *directory) remember(address string) {
	path := filepath.Join(d.cfg.Data, upstreamFile)
	if address == "" {
		return // it was not asked for
	}
	if was, err := os.ReadFile(path); err == nil && string(was) == address+"\n" {
		return
	}
	err := os.MkdirAll(d.cfg.Data, 0o700)
	if err == nil {
		err = os.WriteFile(path+".new", []byte(address+"\n"), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		d.logger.Warn("the engine process's address can't be remembered for a start while the directory is away", "err", err)
	}
}

func (d *directory) remembered() string {
	b, err := os.ReadFile(filepath.Join(d.cfg.Data, upstreamFile))
	if err != nil || len(b) > 1024 {
		return ""
	}
	return strings.TrimSpace(string(b))
}
