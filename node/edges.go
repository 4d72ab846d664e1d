package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/link"
	"github.com/godwit-im/godwit/router/live"
)

// EdgesPath is where the ops endpoint lists the edge processes attached.
const EdgesPath = "/v1/edges"

// EdgeInfo is one edge process as the list shows it.
type EdgeInfo struct {
	Index    int       `json:"index"`
	Node     string    `json:"node"`
	PID      int       `json:"pid"`
	Ops      string    `json:"ops"`
	Sessions int       `json:"sessions"`
	Since    time.Time `json:"since"`

	Address string `json:"address,omitempty"`  // where it came from; empty: a socket file
	TLSName string `json:"tls_name,omitempty"` // in its certificate
	Version int    `json:"version"`            // of the link, as chosen
	Lease   uint64 `json:"lease,omitempty"`    // its epoch
}

// Edges returns the edge processes attached, by index.
func (n *Node) Edges() []EdgeInfo {
	list := []EdgeInfo{}
	if n.hub == nil {
		return list
	}
	for _, s := range n.hub.Edges() {
		list = append(list, EdgeInfo{
			Index: s.Index, Node: s.Node, PID: s.PID, Ops: s.Ops, Sessions: s.Sessions, Since: s.Since,
			Address: s.Address, TLSName: s.TLSName, Version: s.Version, Lease: s.Lease,
		})
	}
	return list
}

func (n *Node) serveEdgeList(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if n.tiers.Load() == nil {
		_, _ = w.Write([]byte("[]\n"))
		return
	}
	_ = json.NewEncoder(w).Encode(n.Edges())
}

// clients returns who holds the clients, as chat sees it: the edge of this process,
// or the hub in front of it and of the edge processes.
func (n *Node) clients(service *chatAdapter, router *live.Router) (chat.Edge, error) {
	if !n.cfg.linked() {
		return n.edge, nil
	}
	secret, err := n.cfg.secret()
	if err != nil {
		return nil, err
	}
	config := link.HubConfig{
		Chat:     service,
		Router:   routes{service, router},
		Tickets:  n.tickets,
		Node:     n.cfg.Node,
		Settings: n.cfg.settings(),
		Secret:   secret,
		TLS:      n.linkTLS(),
		Clock:    n.now,
		Logger:   n.logger.With("tier", "link"),
	}
	if n.edge != nil {
		config.Local = n.edge
	}
	n.hub, err = link.NewHub(config)
	return n.hub, err
}

// routes has everybody forget the sessions of an edge process that is gone.
type routes struct {
	chat   *chatAdapter
	router *live.Router
}

func (r routes) UnregisterEdge(index int) {
	r.chat.ForgetEdge(index) // first: what is opening would be registered after
	r.router.UnregisterEdge(index)
}

// edgeProcesses are those that this process started, and what it holds for them.
type edgeProcesses struct {
	listen     string
	tlsListen  string     // empty: no TLS
	ports      []*os.File // reserved
	supervisor *supervisor
	cleanUp    func()
}

// reserve holds an address until stop and says which it is.
func (p *edgeProcesses) reserve(resolved *string, address string) error {
	listen, port, err := reservePort(address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	*resolved = listen
	p.ports = append(p.ports, port)
	return nil
}

func (p *edgeProcesses) stop() {
	if p.supervisor != nil {
		p.supervisor.Stop()
	}
	for _, port := range p.ports {
		_ = port.Close()
	}
	p.cleanUp()
}

// serveEdges takes edge processes, and starts those that are this one's own. They
// come over a socket file where there is no address, or one with certificates: that
// of this process is not theirs.
func (n *Node) serveEdges(ctx context.Context) error {
	if !n.cfg.linked() {
		return nil
	}
	upstream, cleanUp := "", func() {}
	if address := n.cfg.Link.Listen; address != "" {
		listener, err := n.listenLink(address)
		if err != nil {
			return err
		}
		upstream = address
		if _, isSocket := link.SocketPath(address); !isSocket {
			upstream = Reachable(listener.Addr().String()) // the real port
		}
		if n.directory != nil {
			if err := n.directory.claimNode(n.linkAddress(listener.Addr()), n.store.Group); err != nil {
				return err
			}
		}
	}
	if n.cfg.Edges == 0 {
		return nil
	}
	if upstream == "" || n.linkCert != nil {
		var err error
		if upstream, cleanUp, err = socketAddress(n.cfg.Data); err != nil {
			return err
		}
		if _, err := n.listenLink(upstream); err != nil {
			cleanUp()
			return err
		}
	}
	return n.startEdges(ctx, upstream, cleanUp)
}

func (n *Node) listenLink(address string) (net.Listener, error) {
	listener, err := link.Listen(address)
	if err != nil {
		return nil, fmt.Errorf("listen for edge processes on %s: %w", address, err)
	}
	n.hub.Serve(listener)
	n.logger.Info("edge processes may attach", "link", listener.Addr().String())
	return listener, nil
}

// startEdges starts this process's own edge processes and returns when all of them
// accept clients.
func (n *Node) startEdges(ctx context.Context, upstream string, cleanUp func()) error {
	if n.cfg.EdgeCommand == nil {
		cleanUp()
		return errors.New("edges needs a command to start them with")
	}
	n.edges = &edgeProcesses{cleanUp: cleanUp, supervisor: newSupervisor(n.logger)}
	if err := n.edges.reserve(&n.edges.listen, n.cfg.Listen); err != nil {
		return err
	}
	if n.cfg.TLS.Cert != "" {
		if err := n.edges.reserve(&n.edges.tlsListen, n.cfg.TLS.Listen); err != nil {
			return err
		}
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var names []string
	for k := range n.cfg.Edges {
		process := EdgeProcess{
			Node: fmt.Sprintf("%s-%d", n.cfg.Node, k+1), Listen: n.edges.listen, TLSListen: n.edges.tlsListen, Upstream: upstream, Data: n.cfg.Data, Dev: n.cfg.Dev,
			Router: n.cfg.Router.Store, PD: n.cfg.Router.PD,
			Loops: n.cfg.Edge.Loops, Memory: Size(n.budget / int64(n.cfg.Edges+1)),
		}
		if process.Loops == 0 {
			process.Loops = max(1, (runtime.GOMAXPROCS(0)-1)/n.cfg.Edges)
		}
		if n.cfg.Edge.Memory > 0 {
			process.Memory = n.cfg.Edge.Memory
		} else if process.Memory > 0 {
			process.Memory = max(process.Memory, memoryMin)
		}
		names = append(names, process.Node)
		command := func() *exec.Cmd { return n.cfg.EdgeCommand(process) }
		n.edges.supervisor.keep(process.Node, time.Duration(n.cfg.Drain.Timeout)+stopEdgeMax, command, fail)
	}
	if err := n.hub.AwaitReady(ctx, names...); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// drainClients asks all clients to move and returns when they have, or ctx ends.
func (n *Node) drainClients(ctx context.Context, after, spread time.Duration) {
	if n.hub != nil {
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			n.hub.Drain(ctx, after, spread)
		}()
	}
	if n.edge != nil {
		n.edge.Drain(ctx, after, spread)
	}
}
