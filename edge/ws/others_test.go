package ws

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/lxzan/gws"
)

// outcome is what a server makes of a stream: its messages and control frames in
// order, and how it ends.
type outcome struct {
	events []string
	end    string // open: more is awaited; closed: by the client's close frame; refused
	code   CloseCode
}

func (o outcome) String() string { return fmt.Sprintf("%q then %s", o.events, o.end) }

func note(kind string, payload []byte) string { return kind + ":" + string(payload) }

// streamConn is a connection whose client has sent all it will; what the server
// writes is kept.
type streamConn struct {
	in  *bytes.Reader
	out bytes.Buffer
}

// Read ends with an error of its own: coder/websocket takes io.EOF behind a header
// for the end of that message.
func (c *streamConn) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	if err != nil {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *streamConn) Write(b []byte) (int, error)        { return c.out.Write(b) }
func (c *streamConn) Close() error                       { return nil }
func (c *streamConn) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (c *streamConn) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (c *streamConn) SetDeadline(time.Time) error        { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error    { return nil }
func (c *streamConn) SetWriteDeadline(t time.Time) error { return nil }

func upgradeRequest(deflate bool) *http.Request {
	r, _ := http.NewRequest("GET", "http://x/", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	if deflate {
		r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
	return r
}

const othersMaxBytes = 2000

// oursOn is the Reader's outcome, and its error.
func oursOn(stream []byte, deflate bool) (o outcome, err error) {
	cfg := Config{Deflate: deflate, MessageMaxBytes: othersMaxBytes, FragmentsMax: 1 << 20}
	var r Reader
	var buf Buffer
	window := bytes.Clone(stream)
	for {
		ev, n, need, err := r.Message(&cfg, window, &buf)
		window = window[n:]
		switch {
		case err != nil:
			o.end = "refused"
			return o, err
		case need > 0:
			o.end = "open"
			return o, nil
		case ev.Op == Close:
			o.end, o.code = "closed", ev.Code
			return o, nil
		}
		o.events = append(o.events, note(map[Opcode]string{Text: "text", Binary: "binary", Ping: "ping", Pong: "pong"}[ev.Op], ev.Payload))
	}
}

// coderServer makes Accept believe in an HTTP server.
type coderServer struct{ conn *streamConn }

func (coderServer) Header() http.Header       { return http.Header{} }
func (coderServer) Write([]byte) (int, error) { return 0, errors.New("the upgrade was refused") }
func (coderServer) WriteHeader(int)           {}
func (s coderServer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return s.conn, bufio.NewReadWriter(bufio.NewReader(s.conn), bufio.NewWriter(s.conn)), nil
}

func coderOn(t *testing.T, stream []byte, deflate bool) (o outcome) {
	t.Helper()
	opts := &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		OnPingReceived: func(_ context.Context, p []byte) bool {
			o.events = append(o.events, note("ping", p))
			return true
		},
		OnPongReceived: func(_ context.Context, p []byte) { o.events = append(o.events, note("pong", p)) },
	}
	if deflate {
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	c, err := websocket.Accept(coderServer{&streamConn{in: bytes.NewReader(stream)}}, upgradeRequest(deflate), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(othersMaxBytes)
	for {
		kind, b, err := c.Read(context.Background())
		switch {
		case err == nil:
			o.events = append(o.events, note(map[websocket.MessageType]string{websocket.MessageText: "text", websocket.MessageBinary: "binary"}[kind], b))
			continue
		case websocket.CloseStatus(err) != -1:
			o.end = "closed"
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			o.end = "open"
		default:
			o.end = "refused"
		}
		return o
	}
}

// gwsEvents collects what gws says.
type gwsEvents struct {
	gws.BuiltinEventHandler
	o *outcome
}

func (g gwsEvents) OnPing(_ *gws.Conn, p []byte) { g.o.events = append(g.o.events, note("ping", p)) }

func (g gwsEvents) OnPong(_ *gws.Conn, p []byte) { g.o.events = append(g.o.events, note("pong", p)) }

func (g gwsEvents) OnMessage(_ *gws.Conn, m *gws.Message) {
	g.o.events = append(g.o.events, note(map[gws.Opcode]string{gws.OpcodeText: "text", gws.OpcodeBinary: "binary"}[m.Opcode], m.Bytes()))
}

func (g gwsEvents) OnClose(_ *gws.Conn, err error) {
	var closed *gws.CloseError
	switch {
	case errors.As(err, &closed):
		g.o.end = "closed"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		g.o.end = "open"
	default:
		g.o.end = "refused"
	}
}

func gwsOn(t *testing.T, stream []byte, deflate bool) (o outcome) {
	t.Helper()
	up := gws.NewUpgrader(gwsEvents{o: &o}, &gws.ServerOption{
		CheckUtf8Enabled: true, ReadMaxPayloadSize: othersMaxBytes, PermessageDeflate: gws.PermessageDeflate{Enabled: deflate, PoolSize: 1},
		Logger: gwsLogger{}, Recovery: func(gws.Logger) {},
	})
	conn := &streamConn{in: bytes.NewReader(stream)}
	c, err := up.UpgradeFromConn(conn, bufio.NewReader(conn), upgradeRequest(deflate))
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != nil { // a 64-bit length with its highest bit set
				o.end = "refused"
			}
		}()
		c.ReadLoop()
	}()
	if out := conn.out.Bytes(); o.end == "closed" && bytes.Contains(out, []byte("\x88\x02\x03\xea")) || bytes.Contains(out, []byte("\x88\x02\x03\xef")) {
		o.end = "refused" // it answers a bad close frame with 1002 or 1007
	}
	return o
}

type gwsLogger struct{}

func (gwsLogger) Error(v ...any) { log.Print(v...) }

// frameCut reports whether the frame that ours refused has not arrived whole: then
// others may still be waiting for it. at is where that frame begins.
func frameCut(stream []byte) bool {
	for {
		if len(stream) < 2 {
			return true
		}
		size, length := 2, uint64(stream[1]&0x7F)
		switch length {
		case 126:
			if size = 4; len(stream) < 4 {
				return true
			}
			length = uint64(binary.BigEndian.Uint16(stream[2:]))
		case 127:
			if size = 10; len(stream) < 10 {
				return true
			}
			length = binary.BigEndian.Uint64(stream[2:])
		}
		if stream[1]&0x80 != 0 {
			size += 4
		}
		if len(stream) < size || uint64(len(stream)-size) < length {
			return true
		}
		if stream = stream[size+int(length):]; len(stream) == 0 {
			return false
		}
	}
}

// doomed reports whether ours refuses the message that it awaits more of whatever comes:
// a block that has no code for anything is refused by the standard library at once, and
// by ours at the next bits.
func doomed(stream []byte) bool {
	for _, filler := range []byte{0, 0xFF} {
		more := AppendMasked(bytes.Clone(stream), true, Continuation, 1, bytes.Repeat([]byte{filler}, 8))
		if _, err := oursOn(more, true); err != ErrDeflate {
			return false
		}
	}
	return true
}

// longForm reports whether the control frame that ours refused for its length gives a
// short one in more bytes than it needs: ours refuses the form, coder/websocket goes by
// the number.
func longForm(stream []byte) bool {
	for len(stream) >= 2 {
		control, size, length := stream[0]&8 != 0, 2, uint64(stream[1]&0x7F)
		switch length {
		case 126:
			if size = 4; len(stream) < 4 {
				return false
			}
			length = uint64(binary.BigEndian.Uint16(stream[2:]))
		case 127:
			if size = 10; len(stream) < 10 {
				return false
			}
			length = binary.BigEndian.Uint64(stream[2:])
		}
		if control && size > 2 {
			return length <= 125
		}
		if stream[1]&0x80 != 0 {
			size += 4
		}
		if len(stream) < size || uint64(len(stream)-size) < length {
			return false
		}
		stream = stream[size+int(length):]
	}
	return false
}

// agree holds one other implementation to ours. lax names our errors that it does
// not find, or only later: then its events must still begin with ours.
func agree(t *testing.T, name string, stream []byte, ours outcome, err error, theirs outcome, lax ...error) {
	t.Helper()
	switch {
	case slices.Contains(lax, err), err != nil && theirs.end == "open" && frameCut(stream):
		if len(theirs.events) >= len(ours.events) && slices.Equal(theirs.events[:len(ours.events)], ours.events) {
			return
		}
	case slices.Equal(ours.events, theirs.events) && ours.end == theirs.end:
		return
	}
	t.Fatalf("% x\nours: %v, %v\n%s: %v", stream, ours, err, name, theirs)
}

// hasFinalBlock reports whether a compressed message, or what there is of it, has a
// block with BFINAL.
func hasFinalBlock(stream []byte) bool {
	cfg := Config{Deflate: true, MessageMaxBytes: othersMaxBytes, FragmentsMax: 1 << 20}
	var r Reader
	var packed []byte
	for stream = bytes.Clone(stream); ; {
		ev, n, need, err := r.Next(&cfg, stream)
		if err != nil || need > 0 && n == 0 {
			return false
		}
		stream = stream[n:]
		if !ev.Deflated {
			continue
		}
		if ev.First {
			packed = packed[:0]
		}
		packed = append(packed, ev.Payload...)
		p := puffed{}
		if _ = p.run(packed, othersMaxBytes); p.finals > 0 {
			return true
		}
	}
}

// compare runs all three. What they take and we do not stands in the calls of
// agree, and in docs/websocket.md.
func compare(t *testing.T, stream []byte, deflate bool) (outcome, error) {
	t.Helper()
	ours, err := oursOn(stream, deflate)
	if deflate && hasFinalBlock(stream) {
		return ours, err // to others that is where the message ends, whatever follows
	}
	coder := coderOn(t, stream, deflate)
	if deflate && frameCut(stream) && len(coder.events) >= len(ours.events) {
		// It inflates what has arrived of a frame while that is still masked.
		coder.events, coder.end = coder.events[:len(ours.events)], ours.end
	}
	if deflate && ours.end == "open" && coder.end == "refused" && doomed(stream) {
		coder.end = ours.end
	}
	lax := []error{ErrText, ErrLengthForm, ErrCloseReason, ErrDeflate}
	if err == ErrControlLong && longForm(stream) {
		lax = append(lax, err)
	}
	agree(t, "coder", stream, ours, err, coder, lax...)
	lax = []error{ErrText, ErrLengthForm, ErrDeflate}
	if deflate {
		lax = append(lax, ErrReservedBits)
	}
	theirs := gwsOn(t, stream, deflate)
	if deflate && theirs.end == "open" {
		lax = append(lax, ErrMessageTooBig) // it inflates when all has come
	}
	if ours.code == 1014 && theirs.end == "refused" {
		theirs.end = ours.end // it does not know the code
	}
	agree(t, "gws", stream, ours, err, theirs, lax...)
	return ours, err
}

// FuzzReaderAgainstOthers: the same bytes are the same messages, control frames
// and outcome to coder/websocket and to gws.
func FuzzReaderAgainstOthers(f *testing.F) {
	masked := func(fin bool, op Opcode, payload string) string {
		return string(AppendMasked(nil, fin, op, 0x1f2e3d4c, []byte(payload)))
	}
	d := NewDeflater(1, 6)
	compressed := string(packedFrame(true, Text, deflated(d, []byte("Hello Hello Hello"))))
	for _, s := range []string{
		masked(true, Text, "Hello"), masked(true, Ping, "p") + masked(true, Close, "\x03\xe8bye"), masked(false, Text, "He") + masked(true, Pong, "x") + masked(true, Continuation, "llo"),
		masked(true, Binary, strings.Repeat("b", 300)) + masked(true, Text, "\xff") + masked(true, Text, "after"), "\x81\x05Hello", "\xc1\x80abcd", masked(true, Close, "\x03\xed"),
		masked(true, Continuation, "x"), masked(false, Text, "a") + masked(true, Text, "b"), "\x89\xfe\x00\x7e", "\x89\xfe\x00\x00abcd" + masked(true, Text, "y"), "\x8a\xff\x00\x00\x00\x00\x00\x00\x00\x01abcdx", "\x41\x88,\x1200&0000000", masked(true, Close, "\x03\xf6"), "\x41\x944\x12\xaaU\xd8\xd2\x9bT4\x12\xaa\x97\x14\xe9\r\xe3\xf2#\xb2041A0", masked(true, 3, ""), "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd",
		masked(true, Binary, strings.Repeat("x", othersMaxBytes)), masked(true, Binary, strings.Repeat("x", othersMaxBytes+1)) + masked(true, Text, "y"),
		compressed + masked(true, Text, "plain"), string(packedFrame(true, Binary, zipBomb(3000))), string(packedFrame(true, Binary, []byte{0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00})),
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, deflate bool) {
		if len(stream) > 1<<14 {
			return
		}
		compare(t, stream, deflate)
	})
}

// TestReaderAgreesWithOthers does the same with plausible streams, which random
// bytes seldom are.
func TestReaderAgreesWithOthers(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	ends := map[string]int{}
	for i := range 3000 {
		stream, deflate := randomStream(rng, false), i%3 != 0
		ours, _ := compare(t, stream, deflate)
		ends[ours.end]++
	}
	for _, end := range []string{"open", "closed", "refused"} {
		if ends[end] < 100 {
			t.Errorf("the streams end so: %v", ends)
		}
	}
}
