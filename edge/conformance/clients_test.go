package conformance

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/lxzan/gws"
)

// bodies are below and above what is worth compressing, and do or do not compress.
func bodies() [][]byte {
	return [][]byte{
		{},
		[]byte("short"), []byte(strings.Repeat("a text that compresses well, ", 100)), []byte(strings.Repeat("grüße ", 20000)),
		[]byte(contents()[4].data[:70000]), bytes.Repeat([]byte{0}, 1<<20),
	}
}

// Clients written by others negotiate, inflate and are inflated.
func TestOtherClientsSpeakCompressed(t *testing.T) {
	url := "ws://" + startEcho(t) + "/echo"
	for name, mode := range map[string]websocket.CompressionMode{
		"none": websocket.CompressionDisabled, "no takeover": websocket.CompressionNoContextTakeover, "takeover offered": websocket.CompressionContextTakeover,
	} {
		t.Run("coder "+name, func(t *testing.T) { coderEcho(t, url, mode) })
	}
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{0, 10} {
			t.Run("gws", func(t *testing.T) {
				gwsEcho(t, url, gws.PermessageDeflate{
					Enabled: true, ServerContextTakeover: takeover, ClientContextTakeover: takeover, ServerMaxWindowBits: bits, ClientMaxWindowBits: bits, Threshold: 1,
				})
			})
		}
	}
}

func coderEcho(t *testing.T, url string, mode websocket.CompressionMode) {
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); (got != "") != (mode != websocket.CompressionDisabled) {
		t.Fatalf("agreed to %q", got)
	}
	c.SetReadLimit(-1)
	for _, body := range bodies() {
		if err := c.Write(ctx, websocket.MessageBinary, body); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes came back as %d, %v", len(body), len(got), err)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
}

// echoed hands on what a gws client receives.
type echoed struct {
	gws.BuiltinEventHandler
	got chan []byte
}

func (e echoed) OnMessage(_ *gws.Conn, m *gws.Message) { e.got <- bytes.Clone(m.Bytes()) }
func (e echoed) OnClose(*gws.Conn, error)              { close(e.got) }

func gwsEcho(t *testing.T, url string, deflate gws.PermessageDeflate) {
	h := echoed{got: make(chan []byte, 1)}
	c, resp, err := gws.NewClient(h, &gws.ClientOption{Addr: url, PermessageDeflate: deflate, HandshakeTimeout: waitMax})
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(got, agreement) {
		t.Fatalf("agreed to %q", got)
	}
	go c.ReadLoop()
	for _, body := range bodies() {
		if err := c.WriteMessage(gws.OpcodeBinary, body); err != nil {
			t.Fatal(err)
		}
		if got, ok := <-h.got; !ok || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes came back as %d, %v", len(body), len(got), ok)
		}
	}
	_ = c.WriteClose(1000, nil)
	for range h.got {
		t.Error("something after the close")
	}
}
