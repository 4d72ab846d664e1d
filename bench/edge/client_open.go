package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
	"golang.org/x/sys/unix"
)

var (
	errServerCloses = errors.New("the server closes a WebSocket")
	errOpenTimeout  = errors.New("the connections did not open in time")
)

// connectSpec asks for more connections.
type connectSpec struct {
	Addr  string
	Kind  kind
	Count int // in all
	Net   int // source addresses are 127.(Net+1).x.y
}

// stage is where a connection stands.
type stage uint8

const (
	stageDialing   stage = iota
	stageAnswering       // the answer to the HTTP request is awaited
	stageGreeting        // the connect frame was sent
	stageReady
)

// opening is what a connection needs until it is ready; a held poll keeps it.
type opening struct{ input []byte }

// opener brings up connections, so many at a time.
type opener struct {
	spec    connectSpec
	addr    unix.Sockaddr
	started int
	ready   int
}

const (
	openingMax   = 256
	openingLimit = time.Minute
	// sourceConns is how many connections share a source address: the search for
	// a free port of one address slows down, and a server may bound an address.
	sourceConns = 900
	maskKey     = 0x5a17c3e9
)

var clientPing = (&godwit.ClientFrame{Kind: godwit.KindPing}).AppendFrameTo(nil, godwit.EncodingProto)

// connect returns once all connections are ready.
func (c *client) connect(spec connectSpec) error {
	addr, err := netip.ParseAddrPort(spec.Addr)
	if err != nil {
		return err
	}
	c.do(func() {
		c.kind = spec.Kind
		c.opening.spec, c.opening.addr = spec, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
		grown := make([]conn, spec.Count)
		copy(grown, c.conns)
		c.conns = grown
		c.openMore()
	})
	ok, err := c.until(openingLimit, func() bool { return c.opening.ready == spec.Count })
	if err == nil && !ok {
		err = fmt.Errorf("%w: %d of %d are ready after %v", errOpenTimeout, c.opening.ready, spec.Count, openingLimit)
	}
	return err
}

func (c *client) openMore() {
	o := &c.opening
	for o.started < len(c.conns) && o.started-o.ready < openingMax && c.failed.Load() == nil {
		index := o.started
		o.started++
		if err := c.dial(index); err != nil {
			c.fail(fmt.Errorf("open connection %d: %w", index, err))
		}
	}
}

func (c *client) dial(index int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	k := &c.conns[index]
	*k = conn{fd: int32(fd), index: int32(index), open: new(opening)}
	source := &unix.SockaddrInet4{Addr: [4]byte{127, byte(c.opening.spec.Net%200 + 1), byte(index / sourceConns), 1}}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, source); err != nil {
		return err
	}
	if err := unix.Connect(fd, c.opening.addr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(index)})
}

// dialed comes when a connection is established or has failed.
func (c *client) dialed(k *conn) {
	index := k.index
	if code, err := unix.GetsockoptInt(int(k.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		c.fail(fmt.Errorf("connection %d: %w", index, errors.Join(err, unix.Errno(code))))
		code = -1
	}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_MOD, int(k.fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: index}); err != nil {
		c.fail(err)
	}
	k.stage = stageAnswering
	switch c.kind {
	case kindRaw:
		c.ready(k)
	case kindEcho:
		c.send(k, upgradeRequest(echoPath, ""))
	case kindSession:
		c.send(k, upgradeRequest("/v1/ws", godwit.EncodingProto.Subprotocol()))
	case kindPoll:
		c.send(k, pollRequest(int(index), ""))
	}
}

func (c *client) ready(k *conn) {
	k.stage = stageReady
	if c.kind != kindPoll {
		k.open = nil
	}
	c.opening.ready++
	c.openMore()
}

// proceed takes input of a connection that is not ready, or of a poll.
func (c *client) proceed(k *conn, data []byte) {
	o := k.open
	o.input = append(o.input, data...)
	switch {
	case c.kind == kindPoll:
		c.pollAnswer(k)
	case k.stage == stageAnswering:
		head, rest, whole := bytes.Cut(o.input, []byte("\r\n\r\n"))
		if !whole {
			return
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 101")) {
			c.fail(fmt.Errorf("no upgrade: the server answered %q", firstLine(o.input)))
			return
		}
		o.input = rest
		if c.kind == kindEcho {
			c.ready(k)
			return
		}
		k.stage = stageGreeting
		c.send(k, connectMessage(int(k.index)))
		c.greeted(k)
	default:
		c.greeted(k)
	}
}

// greeted makes a session ready once the first whole frame has come, which is
// short, and of success.
func (c *client) greeted(k *conn) {
	in := k.open.input
	if len(in) < 4 || len(in) < int(headerBytes(in[1])) {
		return
	}
	size, at := int(in[1]), 2
	if in[1] == 126 {
		size, at = int(in[2])<<8|int(in[3]), 4
	}
	if len(in) < at+size {
		return
	}
	if ws.Opcode(in[0]&0xf) != ws.Binary {
		c.fail(fmt.Errorf("the server answered the connect frame with %q", in))
		return
	}
	var frame godwit.ServerFrame
	body, _, err := godwit.NextFrame(godwit.EncodingProto, in[at:at+size])
	if err == nil {
		err = frame.Parse(godwit.EncodingProto, body)
	}
	if err != nil || frame.Kind != godwit.KindConnect {
		c.fail(fmt.Errorf("the answer to the connect frame is of kind %d: %q, %v", frame.Kind, in, err))
		return
	}
	rest := in[at+size:]
	c.ready(k)
	c.frames(k, rest)
}

// pollAnswer takes a whole answer to a poll and polls again from its cursor.
func (c *client) pollAnswer(k *conn) {
	head, rest, whole := bytes.Cut(k.open.input, []byte("\r\n\r\n"))
	if !whole {
		return
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		c.fail(fmt.Errorf("no long-poll: the server answered %q", firstLine(head)))
		return
	}
	size, ok := contentLength(head)
	if !ok || len(rest) < size {
		return
	}
	cursor, ok := pollCursor(rest[:size])
	if !ok {
		c.fail(fmt.Errorf("the answer to a poll has no cursor: %q", rest))
		return
	}
	k.open.input = nil
	c.send(k, pollRequest(int(k.index), cursor))
	if k.stage == stageAnswering {
		c.ready(k)
	}
}

func contentLength(head []byte) (n int, ok bool) {
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			return n, err == nil && n >= 0
		}
	}
	return 0, false
}

// pollCursor finds the cursor in {"poll":{"cursor":"…"}}.
func pollCursor(body []byte) (string, bool) {
	_, rest, found := bytes.Cut(body, []byte(`"cursor":"`))
	cursor, _, whole := bytes.Cut(rest, []byte(`"`))
	return string(cursor), found && whole && len(cursor) > 0
}

func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	return line[:min(len(line), 200)]
}

// pollSeconds is as long as a poll may be held.
const pollSeconds = 60

func pollRequest(index int, cursor string) []byte {
	b := fmt.Appendf(nil, "GET /v1/poll?device=d1&wait=%d", pollSeconds)
	if cursor != "" {
		b = append(append(b, "&c="...), cursor...)
	}
	return fmt.Appendf(b, " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %su%05d\r\n\r\n", tokenPrefix, index)
}

func upgradeRequest(path, subprotocol string) []byte {
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", path)
	if subprotocol != "" {
		b = fmt.Appendf(b, "Sec-WebSocket-Protocol: %s\r\n", subprotocol)
	}
	return append(b, "\r\n"...)
}

func connectMessage(index int) []byte {
	f := godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{
		Token: fmt.Appendf(nil, "%su%05d", tokenPrefix, index), Device: []byte("d1"),
	}}
	return ws.AppendMasked(nil, true, ws.Binary, maskKey, f.AppendFrameTo(nil, godwit.EncodingProto))
}
