package edge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

func TestManyHandshakesAtOnce(t *testing.T) {
	chat := &fakeChat{}
	e, config := newTLSEdge(t, chat, func(c *Config) { c.Loops = 2 })
	const n = 300
	var all sync.WaitGroup
	gate := make(chan struct{})
	for range n {
		all.Go(func() {
			<-gate
			c := upgrade(t, dialTLS(t, e, config), godwit.EncodingProto)
			c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{Token: []byte("user:u"), Device: []byte("dev")}})
			if f := c.next(); f.Kind != godwit.KindConnect {
				t.Errorf("connect answered by %+v", f)
			}
		})
	}
	close(gate)
	all.Wait()
	if s := e.Stats(); s.TLSHandshakes != n || s.Sessions != n || s.TLSFailed != 0 {
		t.Errorf("%d handshakes, %d failed, %d sessions", s.TLSHandshakes, s.TLSFailed, s.Sessions)
	}
}

// TestSilentHandshakesAreGivenUp: clients that stop half-way give their
// places up at the deadline, and those who wait get them.
func TestSilentHandshakesAreGivenUp(t *testing.T) {
	var now clock
	e, config := newTLSEdge(t, &fakeChat{}, now.set)
	var hello captureConn
	_ = tls.Client(&hello, config).Handshake()
	silent := make([]net.Conn, 20)
	for i := range silent {
		silent[i] = dialPort(t, e)
		switch i % 4 {
		case 0: // nothing
		case 1: // a part of a hello
			_, _ = silent[i].Write(hello.sent[:20])
		default: // all of it, and no answer to ours
			_, _ = silent[i].Write(hello.sent)
			if _, err := io.ReadFull(silent[i], make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		}
	}
	open(t, upgrade(t, dialTLS(t, e, config), godwit.EncodingJSON), "alice")
	waitFor(t, func() bool { return e.Stats().Accepted == 21 })
	now.pass(6 * time.Second)
	waitFor(t, func() bool { return e.Stats().Connections == 1 })
	for _, conn := range silent {
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("a silent client was left with %v", err)
		}
	}
}

// TestHandshakesWaitTheirTurn: beyond the bound they begin when others end, and
// those who gave up meanwhile are passed over.
func TestHandshakesWaitTheirTurn(t *testing.T) {
	var now clock
	e, config := newTLSEdge(t, &fakeChat{}, func(c *Config) {
		now.set(c)
		c.shakesMax = 1
	})
	var hello captureConn
	_ = tls.Client(&hello, config).Handshake()
	silent := dialPort(t, e)
	_, _ = silent.Write(hello.sent)
	if _, err := io.ReadFull(silent, make([]byte, 5)); err != nil { // it is under way
		t.Fatal(err)
	}
	impatient := dialPort(t, e)
	_, _ = impatient.Write(hello.sent)
	accepted(t, e, 2)
	_ = impatient.Close()
	waitFor(t, func() bool { return e.Stats().Connections == 1 })
	now.pass(3 * time.Second)
	waitFor(t, func() bool { // the loop has looked at the clock
		l, seen := e.loops[0], make(chan uint32)
		_ = l.events.Execute(t.Context(), runnable(func() { seen <- l.now }))
		return <-seen >= 3000/tickMS
	})
	waiting := make(chan error, 1)
	patient := tls.Client(dialPort(t, e), config)
	go func() { waiting <- patient.Handshake() }()
	accepted(t, e, 3)
	select {
	case err := <-waiting:
		t.Fatalf("a handshake beyond the bound was done: %v", err)
	default:
	}
	now.pass(3 * time.Second) // the deadline of the first
	if err := <-waiting; err != nil {
		t.Fatalf("who waited was not served: %v", err)
	}
	open(t, upgrade(t, patient, godwit.EncodingJSON), "alice")
}

func TestClientThatFloodsItsHandshakeIsCutOff(t *testing.T) {
	var stopped clock // no deadline helps
	e, config := newTLSEdge(t, &fakeChat{}, func(c *Config) {
		stopped.set(c)
		c.shakesMax = 1
	})
	var hello captureConn
	_ = tls.Client(&hello, config).Handshake()
	first := dialPort(t, e)
	_, _ = first.Write(hello.sent)
	if _, err := io.ReadFull(first, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second waits for its turn
		conn := dialPort(t, e)
		_, _ = conn.Write(hello.sent)
		written := 0
		for err := error(nil); err == nil; { // until it is cut off
			_, err = conn.Write(make([]byte, 64<<10))
			if written += 64 << 10; written > 64<<20 {
				t.Fatal("it is taken in without end")
			}
		}
	}
	var k shake
	k.more.L = &k.mu
	if !k.feed(make([]byte, 600), 1000) || k.feed(make([]byte, 600), 1000) {
		t.Error("a handshake takes more than its bound")
	}
}

// captureConn keeps what is written and has nothing to read.
type captureConn struct {
	net.Conn
	sent []byte
}

func (c *captureConn) Write(b []byte) (int, error) { c.sent = append(c.sent, b...); return len(b), nil }
func (c *captureConn) Read([]byte) (int, error)    { return 0, io.EOF }
func (c *captureConn) Close() error                { return nil }

// TestStopEndsHandshakes: goroutines that wait for a client end with the edge.
// goleak looks after the last test.
func TestStopEndsHandshakes(t *testing.T) {
	e, config := newTLSEdge(t, &fakeChat{}, nil)
	var hello captureConn
	_ = tls.Client(&hello, config).Handshake()
	for range 10 {
		conn := dialPort(t, e)
		_, _ = conn.Write(hello.sent)
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	e.shakes.Wait() // and so it returned after them
}

// TestGarbageFloodDelaysNobody: whatever comes to the port in the place of a
// handshake, sessions are served and nothing of it stays.
func TestGarbageFloodDelaysNobody(t *testing.T) {
	e, config := newTLSEdge(t, &fakeChat{}, func(c *Config) { c.Loops = 2 })
	good := open(t, upgrade(t, dialTLS(t, e, config), godwit.EncodingJSON), "alice")
	var hello captureConn
	_ = tls.Client(&hello, config).Handshake()
	stop := make(chan struct{})
	var floods sync.WaitGroup
	for range 4 {
		floods.Go(func() {
			junk := make([]byte, 1+len(hello.sent))
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", e.TLSAddr())
				if err != nil {
					t.Error(err)
					return
				}
				copy(junk, hello.sent)
				_, _ = rand.Read(junk[5+i%(len(junk)-5):]) // the head of a record, then less and less sense
				_, _ = conn.Write(junk[:len(junk)-i%2])
				_ = conn.Close()
			}
		})
	}
	for id := uint64(2); id < 200 || e.Stats().TLSFailed < 20; id++ {
		_ = good.conn.SetDeadline(time.Now().Add(waitMax))
		good.send(sendFrame(id, "still here"))
		if f := good.next(); f.ID != id {
			t.Fatalf("%+v", f)
		}
	}
	close(stop)
	floods.Wait()
	t.Logf("%d handshakes failed", e.Stats().TLSFailed)
	waitFor(t, func() bool { return e.Stats().Connections == 1 })
}
