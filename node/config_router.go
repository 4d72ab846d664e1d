package node

import (
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/link"
)

// Where the directory of a cluster lies.
const (
	StoreLocal = "local"
	StoreTiKV  = "tikv"
)

// RouterConfig says where the directory of the cluster is.
type RouterConfig struct {
	Store        string   `yaml:"store" env:"STORE" doc:"local: one machine, no directory is needed. tikv: a TiKV cluster has it, and edge processes may stand on other machines than the engine process."`
	PD           []string `yaml:"pd" env:"PD" doc:"Addresses of the TiKV cluster's placement drivers, host:port."`
	Cluster      string   `yaml:"cluster" env:"CLUSTER" doc:"Name of this cluster. All its processes have the same; clusters of different names may share one TiKV."`
	CA           string   `yaml:"ca" env:"CA" doc:"File of the authority (PEM) that the TiKV cluster's certificates come from. Empty: no TLS to it."`
	Cert         string   `yaml:"cert" env:"CERT" doc:"File of the certificate (PEM) shown to the TiKV cluster."`
	Key          string   `yaml:"key" env:"KEY" doc:"File of its private key (PEM)."`
	Timeout      Duration `yaml:"timeout" env:"TIMEOUT" doc:"An operation of the TiKV cluster is given up after this, 100ms to 10s. No message waits for one."`
	RegisterPerS int      `yaml:"register_per_s" env:"REGISTER_PER_S" doc:"Sessions registered in the directory per second by one edge process, 10 to 100000. When many wait, newcomers are told to come back."`
	Collect      bool     `yaml:"collect" env:"COLLECT" doc:"Have one process of the cluster collect old versions in TiKV, which else nobody does without TiDB. Never with a TiKV that TiDB uses."`
}

func defaultRouter() RouterConfig {
	return RouterConfig{Store: StoreLocal, Cluster: "godwit", Timeout: Duration(2 * time.Second), RegisterPerS: 2000}
}

// directory reports whether this process keeps to a directory.
func (cfg *Config) directory() bool { return cfg.Router.Store == StoreTiKV }

func (cfg *Config) checkRouter(bad *complaints) {
	r := &cfg.Router
	bad.unless(r.Store == StoreLocal || r.Store == StoreTiKV, "router.store", "is %q; it must be local or tikv", r.Store)
	bad.unless(clusterName.MatchString(r.Cluster), "router.cluster", "is %q; the name of a cluster has 1 to 32 of a-z, 0-9 and -", r.Cluster)
	bad.unless(between(time.Duration(r.Timeout), 100*time.Millisecond, 10*time.Second), "router.timeout", "is %s; it must be 100ms to 10s", r.Timeout)
	bad.unless(between(r.RegisterPerS, 10, 100_000), "router.register_per_s", "is %d; it must be 10 to 100000", r.RegisterPerS)
	cfg.checkAdvertise(bad)
	if r.Store != StoreTiKV {
		bad.unless(len(r.PD) == 0, "router.pd", "is given, but router.store is %s; set it to tikv", r.Store)
		bad.unless(r.CA == "" && r.Cert == "" && r.Key == "", "router.ca", "or a certificate is given, but router.store is %s; set it to tikv", r.Store)
		bad.unless(!r.Collect, "router.collect", "is set, but router.store is %s; set it to tikv", r.Store)
		return
	}
	bad.unless(len(r.PD) > 0, "router.pd", "is empty; name the placement drivers of the TiKV cluster, such as 10.0.0.1:2379")
	for _, address := range r.PD {
		host, port, err := net.SplitHostPort(address)
		bad.unless(err == nil && host != "" && port != "" && checkAddress(address) == nil, "router.pd", "holds %q; give host:port, such as 10.0.0.1:2379", address)
	}
	bad.unless((r.CA == "") == (r.Cert == "") && (r.Cert == "") == (r.Key == ""), "router.ca", "router.cert and router.key belong together; give all of them or none")
	for _, f := range []struct{ field, path string }{{"router.ca", r.CA}, {"router.cert", r.Cert}, {"router.key", r.Key}} {
		if f.path != "" {
			_, err := os.Stat(f.path)
			bad.unless(err == nil, f.field, "can't be read: %v", err)
		}
	}
	bad.unless(memberName.MatchString(cfg.Node) || !godwit.ValidID(cfg.Node), "node", "is %q; with router.store tikv a node name has 1 to 64 letters, digits and . _ -", cfg.Node)
	if l := &cfg.Link; cfg.linked() && l.Advertise == "" && link.CheckAddress(l.Listen) == nil {
		_, isSocket := link.SocketPath(l.Listen)
		bad.unless(isSocket || specific(l.Listen), "link.advertise", "is empty, and link.listen is %q, which names no machine; say where edge processes reach the link, such as 10.0.0.5:7000", l.Listen)
	}
	if cfg.holdsClients() && cfg.Edge.Advertise == "" && checkAddress(cfg.Listen) == nil {
		bad.unless(specific(cfg.Listen), "edge.advertise", "is empty, and listen is %q, which names no machine; say by which URL clients reach this very process, such as wss://edge-1.chat.example/v1/ws", cfg.Listen)
	}
}

func (cfg *Config) checkAdvertise(bad *complaints) {
	if a := cfg.Link.Advertise; a != "" {
		err := link.CheckAddress(a)
		bad.unless(err == nil && (specific(a) || strings.HasPrefix(a, "unix:")) && len(a) <= advertiseBytesMax, "link.advertise", "is %q; it must be the HOST:PORT at which edge processes reach this engine process", a)
	}
	e := &cfg.Edge
	if e.Advertise != "" {
		u, err := url.Parse(e.Advertise)
		ok := err == nil && (u.Scheme == "ws" || u.Scheme == "wss") && u.Host != "" && u.User == nil && u.Fragment == "" && len(e.Advertise) <= advertiseBytesMax
		bad.unless(ok, "edge.advertise", "is %q; it must be the URL of the WebSocket, ws://HOST/v1/ws or wss://HOST/v1/ws, of at most %d bytes", e.Advertise, advertiseBytesMax)
	}
	bad.unless(e.Zone == "" || godwit.ValidID(e.Zone), "edge.zone", "is %q; the name of a zone is %s", e.Zone, strings.TrimPrefix(godwit.ErrBadID.Error(), "id must be "))
}

const advertiseBytesMax = 255

var (
	clusterName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	memberName  = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)
)

// specific reports whether an address to listen on names one address.
func specific(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsUnspecified()
}
