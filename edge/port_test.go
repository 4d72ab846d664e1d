package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/godwit-im/godwit"
)

const (
	shareEnv   = "GODWIT_EDGE_TEST_SHARE"
	shareLoops = 2
)

// shareMain is a process that shares a port until its standard input ends, and
// then drains.
func shareMain() {
	chat := &fakeChat{hellos: map[godwit.SessionID]Hello{}}
	e, err := New(Config{
		Listen: os.Getenv(shareEnv), ReusePort: true, Loops: shareLoops, Chat: chat, Verifier: fakeVerifier{}, monotonic: noTime,
		Static: func(string) (string, []byte, bool) { return "text/plain", fmt.Append(nil, os.Getpid()), true },
	})
	if err != nil {
		panic(err)
	}
	chat.edge = e
	if err := e.Start(); err != nil {
		panic(err)
	}
	fmt.Println(e.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	e.Drain(context.Background(), 0, 0)
	if err := e.Stop(context.Background()); err != nil {
		panic(err)
	}
}

// startSharing returns the child's address, what makes it drain, and what waits for
// its end, too.
func startSharing(t *testing.T, listen string) (addr string, leave, end func()) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), shareEnv+"="+listen)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	leave = sync.OnceFunc(func() { _ = stdin.Close() })
	end = sync.OnceFunc(func() {
		leave()
		if err := child.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	})
	t.Cleanup(end)
	return strings.TrimSpace(line), leave, end
}

// migrate turns the system's migration of waiting connections on for a test that
// may. It returns how many connections the system itself may reset in a hand-over:
// those of clients whose handshake ends in the very moment a listener is closed. With
// the migration that moment is a few instructions of the kernel.
func migrate(t *testing.T, clients int) (resetsMax int64) {
	before, err := os.ReadFile(migrateSetting)
	if err == nil {
		err = os.WriteFile(migrateSetting, []byte("1"), 0o644)
	}
	if err != nil {
		t.Logf("without tcp_migrate_req: %v", err)
		return int64(shareLoops * clients)
	}
	t.Cleanup(func() { _ = os.WriteFile(migrateSetting, before, 0o644) })
	return shareLoops
}

// ask opens a connection, is served, and leaves; it returns who answered.
func ask(addr string) (pid string, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, halfHead+"\r\n"); err != nil {
		return "", err
	}
	return answered(conn)
}

const halfHead = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"

func answered(conn net.Conn) (pid string, err error) {
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", err
	}
	head, pid, _ := strings.Cut(string(answer), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		return "", fmt.Errorf("answered %q", answer)
	}
	return pid, nil
}

// newcomers are clients that come and go until stop.
type newcomers struct {
	addr      string
	resetsMax int64 // see migrate
	stop      chan struct{}
	running   sync.WaitGroup

	served, resets atomic.Int64
	failed         atomic.Pointer[error]
	avoided        atomic.Pointer[string] // whose answers end a row
	row            atomic.Int64           // answers of others since
}

func (n *newcomers) come() {
	for {
		select {
		case <-n.stop:
			return
		default:
		}
		switch pid, err := ask(n.addr); {
		case err == nil:
			n.served.Add(1)
			n.row.Add(1)
			if avoided := n.avoided.Load(); avoided != nil && pid == *avoided {
				n.row.Store(0)
			}
		case errors.Is(err, syscall.ECONNRESET) && n.resets.Add(1) <= n.resetsMax:
		default:
			n.failed.Store(&err)
			return
		}
	}
}

func (n *newcomers) await(t *testing.T, ok func() bool) {
	t.Helper()
	await(t, func() bool { return ok() || n.failed.Load() != nil })
	if err := n.failed.Load(); err != nil {
		t.Fatalf("after %d, and %d reset: %v", n.served.Load(), n.resets.Load(), *err)
	}
}

// more waits for so many answers from now on.
func (n *newcomers) more(t *testing.T, answers int64) {
	t.Helper()
	goal := n.served.Load() + answers
	n.await(t, func() bool { return n.served.Load() >= goal })
}

// TestNewProcessTakesOverASharedPortAndRefusesNobody: the next version starts
// beside the old one, which is then drained, while clients keep coming. The old one
// leaves them all to the next, and serves to the end who had come to it before.
func TestNewProcessTakesOverASharedPortAndRefusesNobody(t *testing.T) {
	const at = 4
	n := &newcomers{resetsMax: migrate(t, at), stop: make(chan struct{})}
	addr, leaveOld, endOld := startSharing(t, "127.0.0.1:0")
	n.addr = addr
	old, err := ask(addr)
	if err != nil {
		t.Fatal(err)
	}
	early, err := net.Dial("tcp", addr)
	if err == nil {
		_, err = io.WriteString(early, halfHead)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = early.Close() }()
	for range at {
		n.running.Go(n.come)
	}
	defer n.running.Wait()
	end := sync.OnceFunc(func() { close(n.stop) })
	defer end()
	n.more(t, 500)
	startSharing(t, addr)
	n.more(t, 500)
	leaveOld()
	n.avoided.Store(&old)
	n.row.Store(0)
	n.await(t, func() bool { return n.row.Load() >= 50 })
	if _, err := io.WriteString(early, "\r\n"); err != nil {
		t.Fatal(err)
	}
	if pid, err := answered(early); err != nil || pid != old {
		t.Errorf("who came before the drain is answered by %q, not %s: %v", pid, old, err)
	}
	_ = early.Close()
	endOld()
	n.more(t, 500)
	end()
	n.running.Wait()
	n.await(t, func() bool { return true })
}

func TestPortIsNotSharedUnlessConfigured(t *testing.T) {
	addr, _, _ := startSharing(t, "127.0.0.1:0")
	for _, share := range []bool{false, true} {
		e, err := New(Config{Listen: addr, ReusePort: share, Loops: 1, Chat: &fakeChat{}, Verifier: fakeVerifier{}})
		if err != nil {
			t.Fatal(err)
		}
		err = e.Start()
		if got := errors.Is(err, syscall.EADDRINUSE); got == share {
			t.Errorf("share %t: %v", share, err)
		}
		if err == nil {
			_ = e.Stop(t.Context())
		}
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if _, err := findPlace(plain.Addr().String(), true); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port that is not shared: %v", err)
	}
}

// TestAFreePortIsKeptUntilItIsListenedOn: another process that is given the same one
// meanwhile would share it without a word.
func TestAFreePortIsKeptUntilItIsListenedOn(t *testing.T) {
	p, err := findPlace("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.release()
	other, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(other) }()
	at := netip.MustParseAddrPort(p.addr) // as one that asks for any port, this socket wants it for itself
	if err := syscall.Bind(other, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%s was given to another: %v", p.addr, err)
	}
}

// TestNoHostMeansIPv4AndIPv6: listen: :8080 is what containers and hosts have.
func TestNoHostMeansIPv4AndIPv6(t *testing.T) {
	clients, listens := []string{"127.0.0.1"}, []string{":0"}
	if six, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = six.Close()
		clients, listens = append(clients, "::1"), append(listens, "[::]:0")
	}
	for _, listen := range listens {
		for _, share := range []bool{false, true} {
			e := newEdge(t, &fakeChat{}, func(cfg *Config) { cfg.Listen, cfg.ReusePort = listen, share })
			_, port, err := net.SplitHostPort(e.Addr())
			if err != nil {
				t.Fatal(err)
			}
			for _, client := range clients {
				conn, err := net.Dial("tcp", net.JoinHostPort(client, port))
				if err != nil {
					t.Errorf("listen %s, shared %t: %v", listen, share, err)
					continue
				}
				_, _ = io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
				if answer, err := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
					t.Errorf("listen %s, shared %t, from %s: %q, %v", listen, share, client, answer, err)
				}
				_ = conn.Close()
			}
		}
	}
}
