package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-im/godwit/harness/load"
	"github.com/godwit-im/godwit/internal/netlab"
)

// cluster is the processes of a run.
type cluster struct {
	o         options
	dir       string
	secret    []byte // of tokens
	lab       *netlab.Lab
	directory *member // nil: there is none
	engine    *member
	edges     []*member
	pd        string
	http      *http.Client
}

// member is one process of the cluster, and where it is.
type member struct {
	process
	address string // of the machine
	listen  string // host:port of its clients; of an engine: of its edges
	ops     string // http://…; of the directory: its counters
}

// packages of the programs.
const (
	packageGodwit  = "github.com/godwit-im/godwit/cmd/godwit"
	packageDevTiKV = "github.com/godwit-im/godwit/tools/devtikv"
)

// build makes a program of the module, unless there is one.
func build(ctx context.Context, path *string, dir, pkg string) error {
	if *path != "" {
		return nil
	}
	*path = filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", *path, pkg)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (run this inside of the module, or say where the program is): %w\n%s", pkg, err, out)
	}
	return nil
}

// open starts everything.
func open(ctx context.Context, o options, dir string) (*cluster, error) {
	c := &cluster{o: o, dir: dir, http: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	if err := build(ctx, &c.o.Godwit, dir, packageGodwit); err != nil {
		return nil, err
	}
	if o.Router == routerTiKV {
		if err := build(ctx, &c.o.DevTiKV, dir, packageDevTiKV); err != nil {
			return nil, err
		}
	}
	if err := c.start(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context) (err error) {
	if c.o.Netns {
		if c.lab, err = netlab.New(); err != nil {
			return err
		}
	}
	if err := c.makeSecrets(ctx); err != nil {
		return err
	}
	if c.o.Router == routerTiKV {
		if err := c.startDirectory(ctx); err != nil {
			return err
		}
	}
	if err := c.startEngine(ctx); err != nil {
		return err
	}
	for i := range c.o.Edges {
		m, err := c.member(edgeName(i), c.o.Godwit)
		if err != nil {
			return err
		}
		c.edges = append(c.edges, m)
		m.listen, m.ops = m.address+":0", m.address+":0"
		if err := c.startEdge(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// member makes a process that is not started, on its own host with -netns.
func (c *cluster) member(name, program string) (*member, error) {
	m := &member{process: process{name: name, program: program, log: filepath.Join(c.dir, name+".log")}, address: "127.0.0.1"}
	if c.lab != nil {
		host, err := c.lab.Host()
		if err != nil {
			return nil, err
		}
		m.host, m.address = host, host.Address
	}
	return m, nil
}

// makeSecrets writes the key of the users' tokens and, where the link crosses hosts,
// the certificates of its ends.
func (c *cluster) makeSecrets(ctx context.Context) error {
	c.secret = make([]byte, 32)
	_, _ = rand.Read(c.secret)
	keys := fmt.Sprintf("keys: [{kid: %s, alg: HS256, key: %q}]\n", load.TokenKeyID, base64.StdEncoding.EncodeToString(c.secret))
	if err := os.WriteFile(filepath.Join(c.dir, "keys.yaml"), []byte(keys), 0o600); err != nil || !c.o.Netns {
		return err
	}
	args := []string{"link", "certs", "--cluster", clusterName, "--out", filepath.Join(c.dir, "certs"), "engine:" + engineName}
	for i := range c.o.Edges {
		args = append(args, "edge:"+edgeName(i))
	}
	if out, err := exec.CommandContext(ctx, c.o.Godwit, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("certificates of the link: %w\n%s", err, out)
	}
	return nil
}

const (
	clusterName = "edgefaults"
	engineName  = "engine"
)

func edgeName(i int) string { return fmt.Sprint("edge-", i+1) }

// environ is what every process of godwit is told.
func (c *cluster) environ(name string) []string {
	environ := []string{
		"GODWIT_NODE=" + name,
		"GODWIT_AUTH_KEYS_FILE=" + filepath.Join(c.dir, "keys.yaml"),
		"GODWIT_AUTH_ISSUER=" + load.TokenIssuer,
		"GODWIT_AUTH_AUDIENCE=" + load.TokenAudience,
		"GODWIT_ROUTER_CLUSTER=" + clusterName,
		"GODWIT_EDGE_LOOPS=1", // each occupies a core while it waits
		"GODWIT_EDGE_PER_SOURCE=20000",
		"GODWIT_EDGE_PING=5s", // so that a cut link is found out
	}
	if c.o.Netns {
		role := "edge-"
		if name == engineName {
			role = "engine-"
		}
		certs := filepath.Join(c.dir, "certs")
		environ = append(environ,
			"GODWIT_LINK_CERT="+filepath.Join(certs, role+name+".crt"),
			"GODWIT_LINK_KEY="+filepath.Join(certs, role+name+".key"),
			"GODWIT_LINK_CA="+filepath.Join(certs, "ca.crt"))
	}
	return environ
}

func (c *cluster) startEngine(ctx context.Context) (err error) {
	if c.engine, err = c.member(engineName, c.o.Godwit); err != nil {
		return err
	}
	m := c.engine
	if m.listen, err = freePort(m); err != nil {
		return err
	}
	m.args = append([]string{"serve", "--json", "--role", "engine", "--link", m.listen, "--ops", m.address + ":0", "--data", filepath.Join(c.dir, m.name)}, c.router()...)
	m.env = c.environ(m.name)
	if err := m.start(ctx, m.addresses); err != nil {
		return err
	}
	return c.ready(ctx, m)
}

// startEdge starts an edge, or starts it again at the address that it had.
func (c *cluster) startEdge(ctx context.Context, m *member) error {
	m.args = append([]string{
		"serve", "--json", "--role", "edge", "--listen", m.listen, "--ops", strings.TrimPrefix(m.ops, "http://"), "--data", filepath.Join(c.dir, m.name),
	}, c.router()...)
	if c.o.Router == routerNone {
		m.args = append(m.args, "--upstream", c.engine.listen)
	}
	m.env = c.environ(m.name)
	if err := m.start(ctx, m.addresses); err != nil {
		return err
	}
	return c.ready(ctx, m)
}

func (c *cluster) router() []string {
	if c.o.Router == routerNone {
		return nil
	}
	return []string{"--router", routerTiKV, "--pd", c.pd}
}

// addresses reads the line that godwit serve --json prints.
func (m *member) addresses(line string) bool {
	var said struct{ Listen, Ops string }
	if json.Unmarshal([]byte(line), &said) != nil || said.Ops == "" {
		return false
	}
	m.ops = said.Ops
	if rest, ok := strings.CutPrefix(said.Listen, "ws://"); ok {
		m.listen, _, _ = strings.Cut(rest, "/")
	}
	return true
}

// freePort finds a port of the member's machine that nobody uses now.
func freePort(m *member) (address string, err error) {
	find := func() {
		var l net.Listener
		if l, err = net.Listen("tcp", m.address+":0"); err == nil {
			address = l.Addr().String()
			err = l.Close()
		}
	}
	if m.host != nil {
		m.host.Do(find)
	} else {
		find()
	}
	return address, err
}

const readyPatience = time.Minute

// ready waits until the process says that it can serve.
func (c *cluster) ready(ctx context.Context, m *member) error {
	return until(ctx, readyPatience, m.name+" is ready", func() bool {
		status, _, err := c.get(ctx, m.ops+"/readyz")
		return err == nil && status == http.StatusOK
	})
}

// get asks an ops address.
func (c *cluster) get(ctx context.Context, url string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	return c.do(request)
}

func (c *cluster) do(request *http.Request) (status int, body string, err error) {
	reply, err := c.http.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer reply.Body.Close()
	b, err := io.ReadAll(io.LimitReader(reply.Body, 1<<20))
	return reply.StatusCode, string(b), err
}

// post sends JSON to the directory's own address.
func (c *cluster) post(ctx context.Context, url string, what any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	status, body, err := c.do(request)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("%s: status %d: %s", url, status, body)
	}
	return err
}

// died reports the first process whose end nobody asked for.
func (c *cluster) died() error {
	for _, m := range c.all() {
		if err := m.died(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) all() (all []*member) {
	for _, m := range append([]*member{c.directory, c.engine}, c.edges...) {
		if m != nil {
			all = append(all, m)
		}
	}
	return all
}

func (c *cluster) close() {
	for _, m := range c.all() {
		m.kill()
	}
	if c.lab != nil {
		c.lab.Close()
	}
}

// until looks again and again until something is so.
func until(ctx context.Context, patience time.Duration, what string, so func() bool) error {
	late := time.After(patience)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("not within %s: %s", patience, what)
		case <-look.C:
		}
	}
	return nil
}
