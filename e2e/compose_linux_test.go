package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.yaml.in/yaml/v3"

	"github.com/godwit-im/godwit/client"
	"github.com/godwit-im/godwit/internal/netlab"
)

// composed runs the services of deploy/compose/cluster as processes, each on a host
// of its own (a network namespace): their configurations, environment and
// certificates, and HAProxy's file, with nothing changed but addresses and paths. In
// the place of TiKV is devtikv, and containers there are none.
type composed struct {
	*hosts
	environment map[string]map[string]string
	hostOf      map[string]*netlab.Host
	moved       []string // addresses of the files, and those of the hosts
}

func newComposed(t *testing.T) *composed {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "deploy", "compose", "cluster", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string
		}
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	c := &composed{hosts: newHosts(t), environment: map[string]map[string]string{}, hostOf: map[string]*netlab.Host{}}
	for _, s := range [][2]string{{"haproxy", "10.0.0.2"}, {"engine", "10.0.0.5"}, {"edge-1", "10.0.0.11"}, {"edge-2", "10.0.0.12"}, {"edge-3", "10.0.0.13"}, {"pd", "pd"}} {
		name, address := s[0], s[1]
		if !strings.Contains(string(b), "\n  "+name+":\n") || !strings.Contains(string(b), address) {
			t.Fatalf("compose.yaml has no %s at %s", name, address)
		}
		host, err := c.lab.Host()
		if err != nil {
			t.Fatal(err)
		}
		c.hostOf[name], c.environment[name] = host, file.Services[name].Environment
		c.moved = append(c.moved, address, host.Address)
	}
	c.certify("engine:engine-1", "edge:edge-1", "edge:edge-2", "edge:edge-3")
	return c
}

// file places a configuration, with those addresses of hosts that are in it.
func (c *composed) file(name string, pairs ...string) string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "deploy", name))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(c.moved); i += 2 {
		for _, suffix := range []string{":", "]"} {
			if strings.Contains(string(b), c.moved[i]+suffix) && c.moved[i] != "pd" {
				pairs = append(pairs, c.moved[i]+suffix, c.moved[i+1]+suffix)
			}
		}
	}
	return substitute(c.t, name, pairs...)
}

// start runs a program on the host of a service; it returns when a line of its
// output has what is awaited.
func (c *composed) start(service, awaited string, env []string, argv ...string) {
	c.t.Helper()
	p := &hosted{Host: c.hostOf[service], stderr: &tail{}}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	for name, value := range c.environment[service] {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stderr, p.cmd.SysProcAttr = p.stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.Start(p.cmd)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.up[service] = p
	if awaited == "" {
		return
	}
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if strings.Contains(lines.Text(), awaited) {
			return
		}
	}
	c.t.Fatalf("%s ended, or was not ready in time: %s", service, p.stderr)
}

// godwit runs a server as its container would.
func (c *composed) godwit(service, role, node, file string) {
	c.t.Helper()
	certs, data := filepath.Join(c.dir, "certs"), filepath.Join(c.dir, service)
	config := c.file(file, "[pd:2379]", "["+c.hostOf["pd"].Address+":2379]", "/run/secrets/keys", filepath.Join(c.dir, "keys.yaml"),
		"/etc/godwit/link/link.crt", filepath.Join(certs, role+"-"+node+".crt"), "/etc/godwit/link/link.key", filepath.Join(certs, role+"-"+node+".key"),
		"/etc/godwit/link/ca.crt", filepath.Join(certs, "ca.crt"))
	if role == "engine" {
		config = c.ownData(config, data)
	}
	// As the Dockerfile has it.
	env := []string{"GODWIT_LISTEN=:8080", "GODWIT_OPS=:8081", "GODWIT_DATA=" + data}
	c.start(service, "ops on", env, c.path, "serve", "-c", config)
}

// ownData puts the engine process's data where the test's is: its file names the
// volume.
func (c *composed) ownData(config, data string) string {
	b, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, []byte(strings.Replace(string(b), "data: /var/lib/godwit", "data: "+data, 1)), 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return config
}

// user is a token of the issuer that the configurations believe.
func (c *composed) user(name string) string {
	c.t.Helper()
	claims := jwt.MapClaims{"sub": name, "iss": "https://id.example", "aud": "chat", "exp": 1 << 40}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["kid"] = "main"
	signed, err := token.SignedString(c.secret)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

func TestComposeClusterOnHostsOfItsOwn(t *testing.T) {
	t.Parallel()
	haproxy := proxyBinary(t, "haproxy")
	if !ownNetwork(t) {
		return
	}
	c := newComposed(t)
	keys := fmt.Sprintf("keys: [{kid: main, alg: HS256, key: %q}]\n", base64.StdEncoding.EncodeToString(c.secret))
	if err := os.WriteFile(filepath.Join(c.dir, "keys.yaml"), []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start("pd", "tikv on", nil, tool(t, "devtikv"), "--pd", c.hostOf["pd"].Address+":2379")
	c.godwit("engine", "engine", "engine-1", "compose/cluster/engine.yaml")
	for _, edge := range []string{"edge-1", "edge-2", "edge-3"} {
		c.godwit(edge, "edge", edge, "compose/cluster/edge.yaml")
	}
	p := newPKI(t, c.hostOf["haproxy"].Address)
	c.start("haproxy", "", nil, haproxy, "-db", "-f", c.file("haproxy/haproxy.cfg", "/etc/haproxy/godwit.pem", p.both, "maxconn 100000", "maxconn 1000"))

	t.Cleanup(func() {
		for service, process := range c.up {
			if t.Failed() {
				t.Logf("%s:\n%s", service, process.stderr)
			}
		}
	})
	for service, host := range c.hostOf {
		if service != "haproxy" && service != "pd" {
			until(t, service+" is ready", func() bool {
				reply, err := http.Get("http://" + host.Address + ":8081/readyz")
				if err != nil {
					return false
				}
				_ = reply.Body.Close()
				return reply.StatusCode == http.StatusOK
			})
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	address := c.hostOf["haproxy"].Address + ":443"
	users, nodes := []string{"alice", "bob", "carol", "dave", "erin", "frank"}, map[string]string{}
	opened := map[string]*client.Client{}
	for _, user := range users {
		cfg := sdkConfig("wss://"+address+"/v1/ws", c.user(user), client.Proto)
		cfg.TLS = p.config()
		opened[user] = dialSDK(ctx, t, cfg)
		nodes[user] = opened[user].State().Welcome.Node
		if !slices.Contains([]string{"edge-1", "edge-2", "edge-3"}, nodes[user]) {
			t.Errorf("%s is on %q", user, nodes[user])
		}
	}
	for i, user := range users {
		next := users[(i+1)%len(users)]
		exchange(ctx, t, opened[user], opened[next], next, "from "+user)
	}

	c.checkAssigned(ctx, t, address, p)
	t.Logf("users on %v", nodes)
}

// checkAssigned: who asks is sent to an edge by its own address, which is not the
// proxy's.
func (c *composed) checkAssigned(ctx context.Context, t *testing.T, address string, p *pki) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/v1/edges", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.user("alice"))
	transport := &http.Transport{TLSClientConfig: p.config()}
	defer transport.CloseIdleConnections()
	until(t, "an edge is named", func() bool {
		reply, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		line, _ := bufio.NewReader(reply.Body).ReadString('\n')
		return reply.StatusCode == http.StatusOK && strings.Contains(line, "ws://localhost:818")
	})
}
