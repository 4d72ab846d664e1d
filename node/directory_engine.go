package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/link"
	"github.com/godwit-im/godwit/router"
)

// placeEvery is how often the map is tried to be put right until it is.
const placeEvery = 2 * time.Second

// claimNode has this engine process known, with where its link is, and puts the map
// right in the background. group says which raft group has a partition.
func (d *directory) claimNode(address string, group func(godwit.Partition) int) (err error) {
	d.engine, err = d.ClaimNode(router.Member{Name: d.cfg.Node, Address: address, Zone: d.cfg.Edge.Zone, Version: d.cfg.Program})
	if err != nil {
		return err
	}
	d.running.Go(func() { d.place(group) })
	return nil
}

// linkAddress is where edge processes of other machines reach the link.
func (n *Node) linkAddress(listened net.Addr) string {
	if n.cfg.Link.Advertise != "" {
		return n.cfg.Link.Advertise
	}
	if _, isSocket := link.SocketPath(n.cfg.Link.Listen); isSocket {
		return n.cfg.Link.Listen
	}
	host, _, _ := net.SplitHostPort(n.cfg.Link.Listen)
	_, port, _ := net.SplitHostPort(listened.String())
	return net.JoinHostPort(host, port)
}

// place tries to put the map right until it is.
func (d *directory) place(group func(godwit.Partition) int) {
	tick := time.NewTicker(placeEvery)
	defer tick.Stop()
	for told := false; ; {
		err := d.placeOnce(group)
		if err == nil || d.ctx.Err() != nil {
			return
		}
		if !told && !errors.Is(err, router.ErrUnavailable) && !errors.Is(err, router.ErrLocked) {
			d.logger.Error("the map of the cluster is not as it should be", "err", err)
			told = true
		}
		select {
		case <-tick.C:
		case <-d.ctx.Done():
			return
		}
	}
}

// errTwoEngines: there is one engine process in a cluster, for now.
var errTwoEngines = errors.New("another engine process of the cluster lives and holds the groups; stop one of them")

// placeOnce writes, under the placement lock, that this node has all groups, unless
// it stands there already or another one that lives has them.
func (d *directory) placeOnce(group func(godwit.Partition) int) error {
	select {
	case <-d.engine.Claimed():
	default:
		return router.ErrUnavailable
	}
	lock, err := d.Placement(d.ctx, d.cfg.Node)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), releaseWait)
		defer cancel()
		_ = lock.Release(ctx) // else it is taken when it has stood still
	}()
	was, err := d.Map(d.ctx)
	if err != nil {
		return err
	}
	m := &router.Map{Version: was.Version}
	for p := range m.Partitions {
		g := uint16(group(godwit.Partition(p)))
		m.Partitions[p] = g
		if !slices.ContainsFunc(m.Groups, func(have router.Group) bool { return have.ID == g }) {
			m.Groups = append(m.Groups, router.Group{ID: g, Replicas: []string{d.cfg.Node}})
		}
	}
	slices.SortFunc(m.Groups, func(a, b router.Group) int { return int(a.ID) - int(b.ID) })
	if sameMap(was, m) {
		return nil
	}
	if err := d.Refresh(d.ctx); err != nil {
		return err
	}
	for _, g := range was.Groups {
		for _, name := range g.Replicas {
			if name != d.cfg.Node && lives(d.View(), name) {
				return fmt.Errorf("%w: %s", errTwoEngines, name)
			}
		}
	}
	return d.PutMap(d.ctx, lock, m)
}

func sameMap(a, b *router.Map) bool {
	return a.Partitions == b.Partitions && slices.EqualFunc(a.Groups, b.Groups, func(a, b router.Group) bool {
		return a.ID == b.ID && slices.Equal(a.Replicas, b.Replicas)
	})
}

func lives(v *router.View, name string) bool {
	return slices.ContainsFunc(v.Nodes, func(p router.Peer) bool { return p.Name == name && p.Verdict != router.Dead })
}

// errNoEngine: the directory names no engine process that could be there.
var errNoEngine = errors.New("the directory names no engine process yet")

// resolve says where the engine process is: the node that holds the groups, else any
// that lives; and while the store is away where it was. It is link.ClientConfig.Resolve.
func (d *directory) resolve(ctx context.Context) (string, error) {
	err := d.Refresh(ctx)
	if err != nil && !d.View().Read {
		if address := d.remembered(); address != "" {
			return address, nil
		}
		return "", err
	}
	var holders []string
	if m, err := d.Map(ctx); err == nil {
		for _, g := range m.Groups {
			holders = append(holders, g.Replicas...)
		}
	}
	best := -1
	nodes := d.View().Nodes
	for i, p := range nodes {
		if p.Address == "" || p.State == router.StateGone {
			continue
		}
		if best < 0 || worth(&p, holders) > worth(&nodes[best], holders) {
			best = i
		}
	}
	if best < 0 {
		return "", errNoEngine
	}
	d.resolved.Store(&nodes[best].Address)
	return nodes[best].Address, nil
}

// worth ranks nodes: life before a place in the map, since it may be out of date.
func worth(p *router.Peer, holders []string) (n int) {
	if p.Verdict == router.Alive {
		n += 4
	}
	if slices.Contains(holders, p.Name) {
		n += 2
	}
	if p.State == router.StateUp {
		n++
	}
	return n
}
