package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must happen; reaching it is a
// failure, never a measurement.
const patience = 60 * time.Second

// insideNetwork tells the second run of a test that its network namespace is fresh,
// and names the directory of the first one's binaries.
const insideNetwork = "GODWIT_E2E_NETWORK"

// binaries are built once per test run, also where a test runs again in a network
// namespace.
var binaries struct {
	sync.Mutex
	dir string
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if binaries.dir = os.Getenv(insideNetwork); binaries.dir == "" {
			dir, err := os.MkdirTemp("", "godwit-e2e-")
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			defer os.RemoveAll(dir)
			binaries.dir = dir
		}
		return m.Run()
	}())
}

// binary returns the path of the godwit binary built with the given tags.
func binary(t testing.TB, tags string) string {
	t.Helper()
	return built(t, "cmd/godwit", tags)
}

// tool returns the path of a program of tools/.
func tool(t testing.TB, name string) string {
	t.Helper()
	return built(t, "tools/"+name, "")
}

func built(t testing.TB, program, tags string) (path string) {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	path = filepath.Join(binaries.dir, filepath.Base(program)+"-"+tags)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-tags", tags, "-o", path, "github.com/godwit-im/godwit/"+program)
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.Remove(path)
		t.Fatalf("build %s with tags %q: %v\n%s", program, tags, err, out)
	}
	return path
}

// server is one godwit process on one data directory, restarted on the same ports.
type server struct {
	t    testing.TB
	path string
	dir  string
	bug  string   // GODWIT_SEEDED_BUG
	env  []string // settings beyond the defaults
	keys bool     // env says whose tokens to believe; else those of token mint

	listen, ops string // host:port once known
	tls         string // host:port of wss, with tls.cert
	cmd         *exec.Cmd
	exited      chan struct{}
	stderr      *tail
}

func newServer(t testing.TB, tags string, env ...string) *server {
	s := &server{t: t, path: binary(t, tags), dir: t.TempDir(), env: env, listen: freePort(t), ops: freePort(t)}
	t.Cleanup(s.kill)
	return s
}

// start runs the server and returns when it listens.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.path, "serve", fmt.Sprintf("--dev=%t", !s.keys), "--listen", s.listen, "--ops", s.ops, "--data", s.dir)
	s.cmd.Env = append(os.Environ(), s.env...)
	if s.bug != "" {
		s.cmd.Env = append(s.cmd.Env, "GODWIT_SEEDED_BUG="+s.bug)
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.stderr = &tail{}
	s.cmd.Stderr = s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start server: %v", err)
	}
	type addresses struct{ listen, tls, ops string }
	up := make(chan addresses, 1)
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		var a addresses
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if _, rest, ok := strings.Cut(lines.Text(), "listening on ws://"); ok {
				a.listen, _, _ = strings.Cut(rest, "/")
			}
			if _, rest, ok := strings.Cut(lines.Text(), "listening on wss://"); ok {
				a.tls, _, _ = strings.Cut(rest, "/")
			}
			if _, rest, ok := strings.Cut(lines.Text(), "ops on http://"); ok {
				a.ops = strings.TrimRight(rest, "/ ")
			}
			if a.listen != "" && a.ops != "" {
				select {
				case up <- a:
				default:
				}
			}
		}
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	select {
	case a := <-up:
		if a != (addresses{s.listen, s.tls, s.ops}) { // a restart writes nothing: clients read them meanwhile
			s.listen, s.tls, s.ops = a.listen, a.tls, a.ops
		}
	case <-s.exited:
		s.t.Fatalf("server ended at start:\n%s", s.stderr)
	case <-time.After(patience):
		s.t.Fatalf("server did not listen:\n%s", s.stderr)
	}
}

// kill ends the process as a power switch would end it: SIGKILL, no warning.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// terminate asks for a graceful end and returns the exit code.
func (s *server) terminate() int {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Fatalf("server did not end after SIGTERM:\n%s", s.stderr)
	}
	code := s.cmd.ProcessState.ExitCode()
	s.cmd = nil
	return code
}

func (s *server) url() string { return "ws://" + s.listen + "/v1/ws" }

// run runs a godwit subcommand to its end.
func (s *server) run(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	return runBinary(s.t, s.path, stdin, args...)
}

func runBinary(t testing.TB, path, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("godwit %s did not end: %s", strings.Join(args, " "), errs.String())
	}
	if _, exit := err.(*exec.ExitError); err != nil && !exit {
		t.Fatalf("run godwit %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// tokens mints one token per user.
func (s *server) tokens(users ...string) map[string]string {
	s.t.Helper()
	out, errs, code := s.run("", append([]string{"token", "mint", "--data", s.dir}, users...)...)
	lines := strings.Fields(out)
	if code != 0 || len(lines) != len(users) {
		s.t.Fatalf("token mint: exit %d, %d lines for %d users: %s", code, len(lines), len(users), errs)
	}
	tokens := map[string]string{}
	for i, user := range users {
		tokens[user] = lines[i]
	}
	return tokens
}

// tail keeps the last bytes of a stream.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 16<<10; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
