package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// seat is one server with its client, each a process.
type seat struct {
	name   string
	server *child    // nil for the floor
	floor  *exec.Cmd // else nil
	addr   string
	client *child
	spec   connectSpec
}

func (s *seat) pid() int {
	if s.floor != nil {
		return s.floor.Process.Pid
	}
	return s.server.pid()
}

// connect brings the connections to so many.
func (s *seat) connect(count int) error {
	s.spec.Count = count
	_, err := s.client.call(request{Op: opConnect, Connect: s.spec})
	return err
}

// sit starts a server and a client for it, which connects count times.
func (r *runner) sit(name string, k kind, count int) (s *seat, err error) {
	r.seated++
	s = &seat{name: name, spec: connectSpec{Kind: k, Net: r.seated}}
	if name == nameFloor {
		err = r.startFloor(s)
	} else {
		err = r.startServer(s)
	}
	if err != nil {
		return nil, err
	}
	s.spec.Addr = s.addr
	if s.client, err = startChild(clientName, clientCore); err != nil {
		return nil, err
	}
	if err = r.living(s.client.cmd); err != nil {
		return nil, err
	}
	s.client.name = "client of " + name
	start := time.Now()
	if err = s.connect(count); err != nil {
		return s, err
	}
	r.logf("%s: %d connections of kind %s in %.1f s", name, count, k, time.Since(start).Seconds())
	return s, nil
}

func (r *runner) startServer(s *seat) (err error) {
	if s.server, err = startChild(s.name, serverCore); err != nil {
		return err
	}
	if err = r.living(s.server.cmd); err != nil {
		return err
	}
	q := request{Op: opStart, Start: startSpec{Sessions: r.filesNeeded()}}
	if r.profiles != "" {
		q.Start.Profile = filepath.Join(r.profiles, fmt.Sprintf("%s-%s-%d.cpu", s.name, s.spec.Kind, s.spec.Net))
	}
	started, err := s.server.call(q)
	s.addr = started.Addr
	return err
}

//go:embed floor.c
var floorSource []byte

var errNoCompiler = errors.New("gcc is missing: the floor of the comparison is written in C; install gcc (Debian: apt-get install gcc libc6-dev)")

// buildFloor compiles the C server into the run's directory.
func buildFloor(dir string) (binary string, err error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", errNoCompiler
	}
	source := filepath.Join(dir, "floor.c")
	if err := os.WriteFile(source, floorSource, 0o600); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "floor")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, gcc, "-O2", "-Wall", "-o", binary, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc failed on floor.c: %w\n%s", err, out)
	}
	return binary, nil
}

func (r *runner) startFloor(s *seat) error {
	s.floor = exec.Command(r.floorBinary)
	s.floor.Stderr = os.Stderr
	out, err := s.floor.StdoutPipe()
	if err != nil {
		return err
	}
	if err := startPinned(s.floor, serverCore); err != nil {
		return err
	}
	if err := r.living(s.floor); err != nil {
		return err
	}
	port, err := bufio.NewReader(out).ReadString('\n')
	s.addr = "127.0.0.1:" + strings.TrimSpace(port)
	return err
}

// leave ends both processes, the server first, so that it does not have to close
// connection by connection. For the sake of a profile it may end by itself.
func (r *runner) leave(s *seat) {
	if s == nil {
		return
	}
	if s.server != nil && r.profiles != "" {
		_ = s.server.stop()
		r.gone(s.server.cmd)
		s.server = nil
	}
	for _, c := range []*child{s.server, s.client} {
		if c != nil {
			r.gone(c.cmd)
			c.kill()
		}
	}
	if s.floor != nil {
		r.gone(s.floor)
		_ = s.floor.Process.Kill()
		_ = s.floor.Wait()
	}
}

// living adds a process to those that an interrupt kills.
func (r *runner) living(c *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.processes[c] = true
	if r.interrupted.Load() { // it came before interrupt could see the process
		return errInterrupted
	}
	return nil
}

func (r *runner) gone(c *exec.Cmd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.processes, c)
}

// interrupt may be called from any goroutine: it kills the children, and the
// call that waits for one fails.
func (r *runner) interrupt() {
	r.interrupted.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.processes {
		_ = c.Process.Signal(syscall.SIGKILL)
	}
}

// killAll ends what an error left behind.
func (r *runner) killAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.processes {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	clear(r.processes)
}
