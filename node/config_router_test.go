package node

import (
	"strings"
	"testing"
)

func TestValidateNamesTheFieldOfTheRouter(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		complains(t, want, change)
	}
	tikv := func(change func(*Config)) func(*Config) {
		return func(c *Config) {
			c.Router.Store, c.Router.PD = StoreTiKV, []string{"127.0.0.1:2379"}
			change(c)
		}
	}
	f("router.store", func(c *Config) { c.Router.Store = "redis" })
	f("router.pd", func(c *Config) { c.Router.PD = []string{"127.0.0.1:2379"} })
	f("router.ca", func(c *Config) { c.Router.CA = "ca.pem" })
	f("router.collect", func(c *Config) { c.Router.Collect = true })
	f("router.cluster", func(c *Config) { c.Router.Cluster = "my cluster" })
	f("router.timeout", func(c *Config) { c.Router.Timeout = 0 })
	f("router.register_per_s", func(c *Config) { c.Router.RegisterPerS = 1 })
	f("edge.advertise", func(c *Config) { c.Edge.Advertise = "https://chat.example" })
	f("edge.advertise", func(c *Config) { c.Edge.Advertise = "ws:///v1/ws" })
	f("edge.advertise", func(c *Config) { c.Edge.Advertise = "wss://" + strings.Repeat("a", advertiseBytesMax) })
	f("edge.zone", func(c *Config) { c.Edge.Zone = "zone a" })
	f("router.pd", tikv(func(c *Config) { c.Router.PD = nil }))
	f("router.pd", tikv(func(c *Config) { c.Router.PD = []string{"http://127.0.0.1:2379"} }))
	f("router.pd", tikv(func(c *Config) { c.Router.PD = []string{":2379"} }))
	f("router.ca", tikv(func(c *Config) { c.Router.CA = "config_router_test.go" }))
	f("router.ca", tikv(func(c *Config) {
		c.Router.CA, c.Router.Cert, c.Router.Key = "/nowhere/ca.pem", "config_router_test.go", "config_router_test.go"
	}))
	f("node", tikv(func(c *Config) { c.Node = "a@b" }))
	f("link.advertise", func(c *Config) { c.Link.Advertise = ":7000" })
	f("edge.advertise", tikv(func(c *Config) { c.Dev, c.Auth, c.Listen = false, authForTests, ":8080" }))
}

// authForTests passes Validate, which does not open the file.
var authForTests = AuthConfig{KeysFile: "keys.yaml", Issuer: "i", Audience: "a", JWKSRefresh: Default().Auth.JWKSRefresh}

func TestEdgeProcessNeedsUpstreamOrDirectory(t *testing.T) {
	complains(t, "link.upstream", func(c *Config) { c.Role = RoleEdge })
	cfg := Default()
	cfg.Dev, cfg.Role, cfg.Router.Store, cfg.Router.PD = true, RoleEdge, StoreTiKV, []string{"127.0.0.1:2379"}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}
