package node

import (
	"fmt"
	"os"

	"github.com/godwit-im/godwit/link"
)

// The roles of a process.
const (
	RoleAll    = "all"
	RoleEngine = "engine"
	RoleEdge   = "edge"
)

// edgesMax bounds the edge processes that one process starts.
const edgesMax = 64

// holdsClients reports whether clients connect to this very process.
func (cfg *Config) holdsClients() bool { return cfg.Role != RoleEngine && cfg.Edges == 0 }

// linked reports whether edge processes come to this one.
func (cfg *Config) linked() bool {
	return cfg.Role != RoleEdge && (cfg.Edges > 0 || cfg.Link.Listen != "")
}

func (cfg *Config) checkRole(bad *complaints) {
	l := &cfg.Link
	bad.unless(cfg.Role == RoleAll || cfg.Role == RoleEngine || cfg.Role == RoleEdge, "role", "is %q; it must be all, engine or edge", cfg.Role)
	bad.unless(cfg.Edges >= 0 && cfg.Edges <= edgesMax, "edges", "is %d; it must be 0 to %d", cfg.Edges, edgesMax)
	if cfg.Role == RoleEdge {
		bad.unless(cfg.Edges == 0, "edges", "is %d in an edge process; only an engine process starts some", cfg.Edges)
		bad.unless(l.Upstream != "" || cfg.directory(), "link.upstream", "is empty; an edge process needs its engine process's link.listen, or a directory that knows it (router.store)")
		cfg.checkLink(bad, "link.upstream", l.Upstream)
		return
	}
	bad.unless(l.Upstream == "", "link.upstream", "is given, but the role is %s; only an edge process has one", cfg.Role)
	bad.unless(cfg.Role != RoleEngine || l.Listen != "" || cfg.Edges > 0, "link.listen", "is empty; an engine process holds no clients itself, so edge processes must reach it")
	cfg.checkLink(bad, "link.listen", l.Listen)
}

// settings are what all edge processes of this engine process agree on.
func (cfg *Config) settings() link.Settings {
	return link.Settings{Limits: cfg.limits(), PingMS: cfg.Edge.Ping.milliseconds(), OutboundBytes: int(cfg.Edge.Outbound), Dev: cfg.Dev}
}

// socketAddress is where the engine process of supervised edge processes listens:
// in the data directory, or, where that path is too long for a socket, in a
// directory of its own, which remove removes.
func socketAddress(data string) (address string, remove func(), err error) {
	address = "unix:" + data + string(os.PathSeparator) + "link.sock"
	if link.CheckAddress(address) == nil {
		return address, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "godwit-")
	if err != nil {
		return "", nil, fmt.Errorf("a directory for the link's socket: %w", err)
	}
	return "unix:" + dir + string(os.PathSeparator) + "link.sock", func() { _ = os.RemoveAll(dir) }, nil
}
