package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/godwit-im/godwit"
)

const shareEnv = "GODWIT_EDGE_TEST_SHARE"

// shareMain is a process that shares a port until its standard input ends, and
// then drains.
func shareMain() {
	chat := &fakeChat{hellos: map[godwit.SessionID]Hello{}}
	e, err := New(Config{
		Listen: os.Getenv(shareEnv), ReusePort: true, Loops: 2, Chat: chat, Verifier: fakeVerifier{},
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

// startSharing returns the child's address and what makes it drain and end.
func startSharing(t *testing.T, listen string) (addr string, end func()) {
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
	var once sync.Once
	end = func() {
		once.Do(func() {
			_ = stdin.Close()
			if err := child.Wait(); err != nil {
				t.Errorf("child: %v", err)
			}
		})
	}
	t.Cleanup(end)
	return strings.TrimSpace(line), end
}

// migrate turns the system's migration of waiting connections on for a test that
// may; without it a connection in the very moment of the hand-over can be reset.
func migrate(t *testing.T) {
	before, err := os.ReadFile(migrateSetting)
	if err == nil {
		err = os.WriteFile(migrateSetting, []byte("1"), 0o644)
	}
	if err != nil {
		t.Logf("without tcp_migrate_req: %v", err)
		return
	}
	t.Cleanup(func() { _ = os.WriteFile(migrateSetting, before, 0o644) })
}

// ask opens a connection, is served, and leaves.
func ask(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		return fmt.Errorf("answered %q", answer)
	}
	return nil
}

// TestNewProcessTakesOverASharedPortAndRefusesNobody: the next version starts
// beside the old one, which is then drained, while clients keep coming.
func TestNewProcessTakesOverASharedPortAndRefusesNobody(t *testing.T) {
	migrate(t)
	addr, endOld := startSharing(t, "127.0.0.1:0")
	var served atomic.Int64
	var failed atomic.Pointer[error]
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := ask(addr); err != nil {
					failed.Store(&err)
					return
				}
				served.Add(1)
			}
		})
	}
	more := func() {
		goal := served.Load() + 500
		await(t, func() bool { return served.Load() >= goal || failed.Load() != nil })
	}
	more()
	startSharing(t, addr)
	more()
	endOld()
	more()
	close(stop)
	clients.Wait()
	if err := failed.Load(); err != nil {
		t.Fatalf("after %d: %v", served.Load(), *err)
	}
}

func TestPortIsNotSharedUnlessConfigured(t *testing.T) {
	addr, _ := startSharing(t, "127.0.0.1:0")
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
