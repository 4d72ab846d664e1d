package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/edge"
	"github.com/godwit-im/godwit/link"
)

// openEdge starts an edge process: it holds clients, and everything else is asked
// of the engine process. It opens no store.
func (n *Node) openEdge(ctx context.Context) error {
	if n.cfg.Dev {
		// The key is the engine process's: made here, its tokens would fit nowhere.
		if _, err := os.Stat(filepath.Join(n.cfg.Data, auth.DevKeyFile)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no %s in %s: give the edge process the data directory of its engine process, and start that first", auth.DevKeyFile, n.cfg.Data)
		}
	}
	secret, err := n.cfg.secret()
	if err != nil {
		return err
	}
	if err := n.startOps(authSeries(), edgeSeries(), tlsSeries(), clientSeries()); err != nil {
		return err
	}
	if n.keyring, err = n.cfg.Keyring(); err != nil {
		return err
	}
	if err := n.keyring.Start(ctx); err != nil {
		return err
	}
	if err := n.openDirectory(ctx); err != nil {
		return err
	}
	n.client, err = link.Attach(ctx, link.ClientConfig{
		Resolve: n.upstream(),
		Lease:   n.directory.leaseEpoch,
		About:   link.About{Node: n.cfg.Node, PID: os.Getpid(), Ops: n.OpsAddr(), Dev: n.cfg.Dev},
		Secret:  secret,
		TLS:     n.linkTLS(),
		Hold:    time.Duration(n.cfg.Link.Hold),
		Lost: func() {
			n.ops.turn(ready, waiting)
			n.edge.Suspend()
			n.directory.takeNoClients()
		},
		Attached: func() {
			n.edge.Resume()
			n.ops.turn(waiting, ready)
			n.directory.attached()
		},
		Drain: func(after, spread time.Duration) {
			n.directory.takeNoClients()
			n.edge.Suspend()
			n.edge.Goaway(after, spread)
		},
		Logger: n.logger.With("tier", "link"),
	})
	if err != nil {
		return err
	}
	config := n.edgeConfig(n.client, &auth.Verifier{Keyring: n.keyring, Tickets: n.client}, n.budget)
	settings := n.client.Settings()
	config.Limits = settings.Limits
	config.PingEvery = time.Duration(settings.PingMS) * time.Millisecond
	config.OutboundBytesMax = settings.OutboundBytes
	n.hold(&config)
	if n.edge, err = edge.New(config); err != nil {
		return err
	}
	n.client.Start(n.edge)
	if err := n.edge.Start(); err != nil {
		return err
	}
	n.client.Ready()
	n.directory.serve(n.edge)
	return nil
}

// upstream says where the engine process is: where the configuration or else the
// directory says.
func (n *Node) upstream() func(context.Context) (string, error) {
	if n.cfg.Link.Upstream != "" || n.directory == nil {
		return link.At(n.cfg.Link.Upstream)
	}
	return n.directory.resolve
}
