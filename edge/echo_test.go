package edge

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/godwit-im/godwit/edge/ws"
)

// dialEcho upgrades at the echo endpoint.
func dialEcho(t testing.TB, e *Edge) *client {
	t.Helper()
	return upgradeEcho(t, dialRaw(t, e))
}

func upgradeEcho(t testing.TB, conn net.Conn) *client {
	t.Helper()
	_, _ = io.WriteString(conn, strings.Replace(upgradeHead, SocketPath, "/echo", 1)+"\r\n")
	r := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return &client{t: t, conn: conn}
}

func TestEchoSendsMessagesBackAsTheyCame(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.EchoPath = "/echo" })
	c := dialEcho(t, e)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go c.raw(append(ws.AppendMasked(nil, true, ws.Text, 7, []byte("text")), ws.AppendMasked(nil, true, ws.Binary, 9, big)...))
	for _, want := range []ws.Event{{Op: ws.Text, Payload: []byte("text")}, {Op: ws.Binary, Payload: big}} {
		if ev, ok := c.event(); !ok || ev.Op != want.Op || !bytes.Equal(ev.Payload, want.Payload) {
			t.Fatalf("%d with %d bytes came back, want %d with %d", ev.Op, len(ev.Payload), want.Op, len(want.Payload))
		}
	}
	c.message(ws.Close, []byte{3, 232})
	if ev, ok := c.event(); !ok || ev.Op != ws.Close || ev.Code != 1000 {
		t.Fatalf("close answered by %+v", ev)
	}
}

func TestEchoIsOffUnlessConfigured(t *testing.T) {
	e := newEdge(t, &fakeChat{}, nil)
	conn := dialRaw(t, e)
	_, _ = io.WriteString(conn, strings.Replace(upgradeHead, SocketPath, "/echo", 1)+"Connection: close\r\n\r\n")
	if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), "HTTP/1.1 404 ") {
		t.Fatalf("%q", got)
	}
}
