package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

const (
	childEnv   = "GODWIT_EDGE_TEST_FILES"
	childFiles = filesReserved + 40
)

// childMain is the process of TestConnectionFloodDoesNotStopTheEngine: an edge
// with few files, until its standard input ends.
func childMain() bool {
	if os.Getenv(shareEnv) != "" {
		shareMain()
		return true
	}
	if os.Getenv(childEnv) == "" {
		return false
	}
	limit := syscall.Rlimit{Cur: childFiles, Max: childFiles}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	// What a process may open beside its connections: the reserve is used up.
	var others []*os.File
	for range filesReserved - 32 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			panic(err)
		}
		others = append(others, f)
	}
	defer runtime.KeepAlive(others)
	chat := &fakeChat{hellos: map[godwit.SessionID]Hello{}}
	e, err := New(Config{Listen: "127.0.0.1:0", Loops: 2, Chat: chat, Verifier: fakeVerifier{}, monotonic: noTime})
	if err != nil {
		panic(err)
	}
	chat.edge = e
	if err := e.Start(); err != nil {
		panic(err)
	}
	fmt.Println(e.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := e.Stop(context.Background()); err != nil {
		panic(err)
	}
	return true
}

// TestConnectionFloodDoesNotStopTheEngine: at EMFILE gnet would end; the edge
// refuses before, serves those it has, and takes new ones when some leave.
func TestConnectionFloodDoesNotStopTheEngine(t *testing.T) {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=1")
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
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	})
	e := &Edge{addr: strings.TrimSpace(line)}

	const floodSize = 400
	var flood []net.Conn
	for range floodSize {
		flood = append(flood, dialRaw(t, e))
	}
	var served []*client
	for _, conn := range flood {
		_, _ = io.WriteString(conn, upgradeHead+"\r\n")
		head := make([]byte, 12)
		if _, err := io.ReadFull(conn, head); err == nil && string(head) == "HTTP/1.1 101" {
			r := bufio.NewReader(conn)
			for line := "-"; line != "\r\n" && err == nil; line, err = r.ReadString('\n') {
			}
			served = append(served, &client{t: t, conn: conn, enc: godwit.EncodingJSON})
			continue
		}
		_ = conn.Close()
	}
	if room := childFiles - filesReserved; len(served) != room {
		t.Errorf("%d connections were served, want %d", len(served), room)
	}
	for i, c := range served {
		c.text(fmt.Sprintf(`{"id":1,"connect":{"token":"user:u%d"}}`, i))
		if f := c.next(); f.Kind != godwit.KindConnect {
			t.Fatalf("survivor %d: %+v", i, f)
		}
	}
	served[0].message(ws.Close, nil)
	served[0].wantClose(godwit.CloseCode(ws.CodeNoStatus))
	for end := time.Now().Add(waitMax); ; { // the server counts the end a moment later
		conn := dialRaw(t, e)
		_, _ = io.WriteString(conn, upgradeHead+"\r\n")
		head := make([]byte, 12)
		if _, err := io.ReadFull(conn, head); err == nil && string(head) == "HTTP/1.1 101" {
			break
		}
		_ = conn.Close()
		if time.Now().After(end) {
			t.Fatal("no newcomer is served after one has left")
		}
	}
}

func TestNewRefusesALimitOfFilesBelowTheReserve(t *testing.T) {
	_, err := New(Config{Listen: "127.0.0.1:0", Chat: &fakeChat{}, Verifier: fakeVerifier{}, FilesReserved: 1 << 40})
	if err == nil || !strings.Contains(err.Error(), "ulimit") {
		t.Fatalf("%v", err)
	}
}
