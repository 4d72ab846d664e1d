package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Missing says what this machine or process lacks; empty: nothing.
func Missing() string {
	switch _, err := exec.LookPath("ip"); {
	case os.Geteuid() != 0:
		return "root, which network namespaces need"
	case err != nil:
		return "the program ip (Debian: iproute2)"
	}
	return ""
}

// Private has a command run in a fresh network namespace, and die with the thread
// that starts it.
func Private(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
}

// Lab is a bridge, and this process's own place at it, with the address Own.
type Lab struct {
	hosts []*Host
}

const (
	bridge  = "lab"
	network = "10.77.0."
)

// Own is the address of the process that made the lab.
const Own = network + "1"

// Host is one machine. Its methods may be called from one goroutine at a time.
type Host struct {
	Address string

	port  string // its end at the bridge
	calls chan func()
	ended sync.WaitGroup
}

// New makes the bridge in the namespace of this process.
func New() (*Lab, error) {
	for _, line := range []string{
		"link set lo up",
		"link add " + bridge + " type bridge",
		"addr add " + Own + "/24 dev " + bridge,
		"link set " + bridge + " up",
	} {
		if err := ip(line); err != nil {
			return nil, err
		}
	}
	return &Lab{}, nil
}

// ip runs the program of that name in the namespace of the calling thread.
func ip(line string) error {
	out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// hostsMax: addresses end with a byte.
const hostsMax = 200

// Host adds a machine.
func (l *Lab) Host() (*Host, error) {
	n := len(l.hosts) + 2
	if n > hostsMax {
		return nil, errors.New("netlab: too many hosts")
	}
	h := &Host{Address: network + strconv.Itoa(n), port: "port" + strconv.Itoa(n), calls: make(chan func())}
	inside := make(chan error)
	var thread int
	h.ended.Go(func() {
		runtime.LockOSThread() // for ever: the thread is not what it was, and ends with the goroutine
		thread = unix.Gettid()
		inside <- unix.Unshare(unix.CLONE_NEWNET)
		for call := range h.calls {
			call()
		}
	})
	l.hosts = append(l.hosts, h)
	if err := <-inside; err != nil {
		return nil, fmt.Errorf("a network namespace: %w", err)
	}
	for _, line := range []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns /proc/%d/task/%d/ns/net", h.port, os.Getpid(), thread),
		fmt.Sprintf("link set %s master %s up", h.port, bridge),
	} {
		if err := ip(line); err != nil {
			return nil, err
		}
	}
	for _, line := range []string{"link set lo up", "addr add " + h.Address + "/24 dev eth0", "link set eth0 up"} {
		if err := h.ip(line); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Do calls f on a thread of the host: sockets and processes that f makes are there.
func (h *Host) Do(f func()) {
	done := make(chan struct{})
	h.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

func (h *Host) ip(line string) (err error) {
	h.Do(func() { err = ip(line) })
	return err
}

// Start starts a command on the host. With Pdeathsig it dies with the host.
func (h *Host) Start(cmd *exec.Cmd) (err error) {
	h.Do(func() { err = cmd.Start() })
	return err
}

// Cut pulls the host's plug: nothing comes in or goes out, and nobody is told.
func (h *Host) Cut() error { return ip("link set " + h.port + " down") }

// Heal puts it back.
func (h *Host) Heal() error { return ip("link set " + h.port + " up") }

// nobody is a hardware address that nothing has.
const nobody = "02:00:00:00:00:ff"

// Mute makes what the host sends to another address vanish; what comes from there
// still arrives.
func (h *Host) Mute(address string) error {
	return h.ip("neigh replace " + address + " lladdr " + nobody + " nud permanent dev eth0")
}

// Unmute takes Mute back.
func (h *Host) Unmute(address string) error { return h.ip("neigh del " + address + " dev eth0") }

// Close ends the hosts, and what was started there with Pdeathsig.
func (l *Lab) Close() {
	for _, h := range l.hosts {
		close(h.calls)
		h.ended.Wait()
	}
	l.hosts = nil
	_ = ip("link del " + bridge)
}
