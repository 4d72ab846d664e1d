package deploy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// linkCert is where the configurations look for the link's certificate.
const linkCert = "/etc/godwit/link/link.crt"

func TestComposeConfigurationsOfAClusterAgree(t *testing.T) {
	const dir = "compose/cluster"
	compose, err := parseCompose(read(t, dir+"/compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	engine := checkMounted(t, dir, "engine", "engine.yaml")
	listen := netip.MustParseAddrPort(engine.Link.Listen).Addr()
	if at := compose.Services["engine"].Networks["hosts"].Address; listen != at {
		t.Errorf("the engine process listens on %s and is %s", listen, at)
	}
	proxy, haproxy := compose.Services["haproxy"].Networks["hosts"].Address.String(), read(t, "haproxy/haproxy.cfg")
	certified := func(service, role, name string) {
		t.Helper()
		want := fmt.Sprintf("./certs/link/%s-%s.crt:%s:ro", role, name, linkCert)
		if !slices.Contains(compose.Services[service].Volumes, want) {
			t.Errorf("%s has another certificate than %s", service, want)
		}
	}
	certified("engine", "engine", engine.Node)
	for i := range 3 {
		name := fmt.Sprintf("edge-%d", i+1)
		cfg := checkMounted(t, dir, name, "edge.yaml")
		if cfg.Node != name || cfg.Router.Cluster != engine.Router.Cluster || !slices.Equal(cfg.Router.PD, engine.Router.PD) {
			t.Errorf("%s: %s, %+v; the engine process has %+v", name, cfg.Node, cfg.Router, engine.Router)
		}
		if cfg.Auth.Issuer != engine.Auth.Issuer || cfg.Auth.Audience != engine.Auth.Audience {
			t.Errorf("%s believes other tokens than the engine process", name)
		}
		certified(name, "edge", cfg.Node)
		address := compose.Services[name].Networks["hosts"].Address.String() + ":8080"
		if !strings.Contains(haproxy, fmt.Sprintf("server edge%d %s\n", i+1, address)) || !slices.Contains(cfg.Edge.Proxies, proxy) {
			t.Errorf("HAProxy on %s and %s on %s do not know each other", proxy, name, address)
		}
	}
}
