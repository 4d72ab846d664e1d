package node

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/link"
	"github.com/godwit-im/godwit/link/identity"
)

// linkFilesOf writes what a process shows and believes on the link.
func linkFilesOf(t *testing.T, dir string, ca *identity.Authority, who identity.Identity, life time.Duration) LinkConfig {
	t.Helper()
	now := time.Now()
	pair, err := ca.IssueFor(who, now.Add(-2*time.Hour), now.Add(life))
	if err != nil {
		t.Fatal(err)
	}
	files := tlsFiles{t, dir}
	files.write("link.pem", pair.Cert)
	files.write("link-key.pem", pair.Key)
	files.write("link-ca.pem", ca.Cert)
	l := Default().Link
	l.Cert, l.Key, l.CA = filepath.Join(dir, "link.pem"), filepath.Join(dir, "link-key.pem"), filepath.Join(dir, "link-ca.pem")
	return l
}

func trialAuthority(t *testing.T) *identity.Authority {
	t.Helper()
	ca, err := identity.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// TestAnEdgeProcessAttachesOverTCPWithItsCertificate, which is renewed while it
// serves: the stream that stands goes on.
func TestAnEdgeProcessAttachesOverTCPWithItsCertificate(t *testing.T) {
	ca := trialAuthority(t)
	cfg := testConfig(t)
	cfg.Role, cfg.Edges = RoleEngine, 0
	who := identity.Identity{Cluster: "godwit", Role: identity.Engine, Name: cfg.Node}
	cfg.Link = linkFilesOf(t, t.TempDir(), ca, who, time.Hour)
	address := freeAddress(t)
	cfg.Link.Listen = address
	engine := mustOpen(t, cfg)

	looks, dir := make(chan time.Time), t.TempDir()
	edge := testConfig(t)
	edge.Role, edge.Node, edge.Data = RoleEdge, "edge-1", cfg.Data
	mine := identity.Identity{Cluster: "godwit", Role: identity.Edge, Name: "edge-1"}
	edge.Link, edge.certificateLooks = linkFilesOf(t, dir, ca, mine, time.Hour), looks
	edge.Link.Upstream = address
	n := mustOpen(t, edge)
	s := connected(t, n, devToken(t, cfg))
	list := engine.Edges()
	if len(list) != 1 || list[0].TLSName != mine.String() || !strings.HasPrefix(list[0].Address, "127.0.0.1:") || list[0].Version == 0 {
		t.Errorf("%+v", list)
	}

	linkFilesOf(t, dir, trialAuthority(t), mine, 48*time.Hour) // of another authority: good as such
	looks <- time.Now()
	looks <- time.Now()
	if answer, ok := s.store(2, "hello"); !ok || !strings.Contains(answer, `"stored"`) {
		t.Errorf("send answered %q", answer)
	}
	_, _, metrics := get(t, "http://"+n.OpsAddr()+"/metrics", "")
	for _, want := range []string{"godwit_link_certificate_loads_total 2", "godwit_link_certificate_refused_total 0", "godwit_link_certificate_days 1.9", "godwit_link_untrusted_total 0"} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("the edge process has no %s", want)
		}
	}
	_, _, metrics = get(t, "http://"+engine.OpsAddr()+"/metrics", "")
	for _, want := range []string{"godwit_link_certificate_loads_total 1", "godwit_link_untrusted_total 0"} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("the engine process has no %s", want)
		}
	}
}

func TestALinkCertificateOfAnotherProcessIsNotTaken(t *testing.T) {
	ca := trialAuthority(t)
	f := func(want string, life time.Duration, change func(*Config, *identity.Identity)) {
		t.Helper()
		cfg := Default()
		cfg.Role, cfg.Node, cfg.Link.Upstream = RoleEdge, "edge-1", "10.0.0.1:7000"
		who := identity.Identity{Cluster: cfg.Router.Cluster, Role: identity.Edge, Name: cfg.Node}
		change(&cfg, &who)
		upstream := cfg.Link.Upstream
		cfg.Link = linkFilesOf(t, t.TempDir(), ca, who, life)
		cfg.Link.Upstream = upstream
		files, ok := cfg.linkFiles()
		if !ok {
			if want != "none" {
				t.Error("no certificate is looked at")
			}
			return
		}
		c, err := loadCertificate(files, time.Now, slog.New(slog.DiscardHandler))
		if err == nil {
			c.close()
		}
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "link.cert and link.key: ")) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("", time.Hour, func(*Config, *identity.Identity) {})
	f("this is godwit://godwit/edge/edge-1: ", time.Hour, func(_ *Config, who *identity.Identity) { who.Name = "edge-2" })
	f("of an engine process", time.Hour, func(_ *Config, who *identity.Identity) { who.Role = identity.Engine })
	f(`of cluster "other"`, time.Hour, func(_ *Config, who *identity.Identity) { who.Cluster = "other" })
	f("ended at", -time.Hour, func(*Config, *identity.Identity) {})
	f("none", time.Hour, func(c *Config, _ *identity.Identity) { c.Link.Upstream = "unix:/s" })
}

// TestAnAuthorityFileIsReadAgainLikeTheOthers, and one that holds none is refused.
func TestAnAuthorityFileIsReadAgainLikeTheOthers(t *testing.T) {
	one, two, dir := trialAuthority(t), trialAuthority(t), t.TempDir()
	cfg := Default()
	who := identity.Identity{Cluster: cfg.Router.Cluster, Role: identity.Engine, Name: cfg.Node}
	cfg.Link = linkFilesOf(t, dir, one, who, time.Hour)
	cfg.Link.Listen = ":7000"
	files, _ := cfg.linkFiles()
	c, err := loadCertificate(files, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	n := Node{cfg: cfg, linkCert: c}
	believed := n.linkTLS().Roots()
	tlsFiles{t, dir}.write("link-ca.pem", []byte("garbage"))
	c.look()
	if !n.linkTLS().Roots().Equal(believed) || c.refused.Load() != 1 {
		t.Error("garbage is believed")
	}
	tlsFiles{t, dir}.write("link-ca.pem", append(one.Cert, two.Cert...))
	c.look()
	if n.linkTLS().Roots().Equal(believed) || c.loads.Load() != 2 {
		t.Error("the file of authorities is not read again")
	}
}

// TestASupersededEdgeProcessClosesItsSessionsAndEnds: another one has its name and a
// later lease.
func TestASupersededEdgeProcessClosesItsSessionsAndEnds(t *testing.T) {
	cfg := engineConfig(t)
	engine := mustOpen(t, cfg)
	n := mustOpen(t, edgeConfig(t, cfg, "edge-1"))
	s := connected(t, n, devToken(t, cfg))
	ended := make(chan error, 1)
	go func() { ended <- n.Run(t.Context()) }()
	younger, err := link.Attach(t.Context(), link.ClientConfig{Resolve: link.At(cfg.Link.Listen), About: link.About{Node: "edge-1", Dev: true, Lease: 1 << 40}})
	if err != nil {
		t.Fatal(err)
	}
	defer younger.Close()
	if err := <-ended; !errors.Is(err, link.ErrSuperseded) {
		t.Errorf("ended with %v", err)
	}
	if _, ok := s.until("nothing"); ok || s.code != uint16(godwit.CloseRebalance) && s.code != uint16(godwit.CloseDrain) {
		t.Errorf("closed with %d, which is none to resume after", s.code)
	}
	if list := engine.Edges(); len(list) != 1 || list[0].Lease != 1<<40 {
		t.Errorf("%+v", list)
	}
}
