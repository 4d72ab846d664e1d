package e2e

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/godwit-im/godwit/internal/netlab"
)

// ownNetwork runs the calling test again in a fresh network namespace and reports
// whether this is that run. It skips where there are no namespaces.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideNetwork) != "" {
		return true
	}
	if missing := netlab.Missing(); missing != "" {
		t.Skip("hosts on one machine need " + missing)
	}
	binary(t, "") // here, so that no two processes build
	tool(t, "devtikv")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideNetwork+"="+binaries.dir)
	netlab.Private(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("%s", out)
	}
	return false
}

// hosts is an engine process and edge processes, each on a host of its own; the
// test itself is where the clients are.
type hosts struct {
	t      *testing.T
	lab    *netlab.Lab
	dir    string
	path   string
	secret []byte
	env    []string // of all processes
	pd     string   // of the directory; empty: there is none, edges know the engine's address
	up     map[string]*hosted
}

// hosted is one process.
type hosted struct {
	*netlab.Host
	listen, ops string
	cmd         *exec.Cmd
	stderr      *tail
}

const hostsCluster = "godwit"

func newHosts(t *testing.T) *hosts {
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	h := &hosts{t: t, lab: lab, dir: t.TempDir(), path: binary(t, ""), secret: make([]byte, 32), up: map[string]*hosted{}}
	t.Cleanup(func() {
		for _, p := range h.up {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		lab.Close()
	})
	_, _ = rand.Read(h.secret)
	keys := fmt.Sprintf("keys: [{kid: test, alg: HS256, key: %q}]\n", base64.StdEncoding.EncodeToString(h.secret))
	file := filepath.Join(h.dir, "keys.yaml")
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	h.env = []string{
		"GODWIT_AUTH_KEYS_FILE=" + file, "GODWIT_AUTH_ISSUER=hosts", "GODWIT_AUTH_AUDIENCE=hosts",
		"GODWIT_EDGE_LOOPS=1",
	}
	return h
}

// certify makes the certificates of the link.
func (h *hosts) certify(processes ...string) {
	h.t.Helper()
	args := append([]string{"link", "certs", "--cluster", hostsCluster, "--out", filepath.Join(h.dir, "certs")}, processes...)
	if _, errs, code := runBinary(h.t, h.path, "", args...); code != 0 {
		h.t.Fatalf("link certs: exit %d: %s", code, errs)
	}
}

// token is a user's.
func (h *hosts) token(user string) string {
	h.t.Helper()
	claims := jwt.MapClaims{"sub": user, "iss": "hosts", "aud": "hosts", "exp": time.Now().Add(time.Hour).Unix()}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["kid"] = "test"
	signed, err := token.SignedString(h.secret)
	if err != nil {
		h.t.Fatal(err)
	}
	return signed
}

// start starts a process on a new host and returns when it is ready.
func (h *hosts) start(role, name string, args func(address string) []string) *hosted {
	h.t.Helper()
	host, err := h.lab.Host()
	if err != nil {
		h.t.Fatal(err)
	}
	certs := filepath.Join(h.dir, "certs")
	command := append([]string{"serve", "--json", "--role", role, "--ops", host.Address + ":8081", "--data", filepath.Join(h.dir, name)}, args(host.Address)...)
	if h.pd != "" {
		command = append(command, "--router", "tikv", "--pd", h.pd)
	}
	p := &hosted{Host: host}
	line := h.run(p, name, h.path, append(h.env,
		"GODWIT_NODE="+name, "GODWIT_ROUTER_CLUSTER="+hostsCluster,
		"GODWIT_LINK_CERT="+filepath.Join(certs, role+"-"+name+".crt"), "GODWIT_LINK_KEY="+filepath.Join(certs, role+"-"+name+".key"), "GODWIT_LINK_CA="+filepath.Join(certs, "ca.crt")), command...)
	var said struct{ Listen, Ops string }
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		h.t.Fatalf("%s said %q", name, line)
	}
	p.listen, p.ops = said.Listen, said.Ops
	until(h.t, name+" is ready", func() bool {
		reply, err := http.Get(p.ops + "/readyz")
		if err != nil {
			return false
		}
		_ = reply.Body.Close()
		return reply.StatusCode == http.StatusOK
	})
	return p
}

// run starts a program on a host and returns the first line that it prints.
func (h *hosts) run(p *hosted, name, program string, env []string, args ...string) string {
	h.t.Helper()
	p.stderr, p.cmd = &tail{}, exec.Command(program, args...)
	h.up[name] = p
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := p.Start(p.cmd); err != nil {
		h.t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		h.t.Fatalf("%s did not start: %v\n%s", name, err, p.stderr)
	}
	return line
}

// directoryHost starts the directory, which all later processes keep to.
func (h *hosts) directoryHost() {
	h.t.Helper()
	host, err := h.lab.Host()
	if err != nil {
		h.t.Fatal(err)
	}
	line := h.run(&hosted{Host: host}, "devtikv", tool(h.t, "devtikv"), nil, "--pd", host.Address+":2379")
	pd, ok := strings.CutPrefix(strings.TrimSpace(line), "pd on ")
	if !ok {
		h.t.Fatalf("the directory said %q", line)
	}
	h.pd = pd
}

// engineHost starts the engine process.
func (h *hosts) engineHost() *hosted {
	return h.start("engine", "engine", func(address string) []string {
		return []string{"--link", address + ":8082"}
	})
}

// edgeHost starts an edge process of it.
func (h *hosts) edgeHost(name string, engine *hosted) *hosted {
	return h.start("edge", name, func(address string) []string {
		if h.pd != "" {
			return []string{"--listen", address + ":8080"}
		}
		return []string{"--listen", address + ":8080", "--upstream", engine.Address + ":8082"}
	})
}

// attached counts the edge processes that the engine has.
func (h *hosts) attached(engine *hosted) int {
	return len(edgesOf(h.t, strings.TrimPrefix(engine.ops, "http://")))
}
