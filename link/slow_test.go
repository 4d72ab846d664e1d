package link

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/keepalive"

	"github.com/godwit-im/godwit"
)

// stoppable is the connection of a process that may be stopped: from then on it
// reads nothing, and so answers no ping, though its socket stays open.
type stoppable struct {
	net.Conn
	stop   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (c *stoppable) Read(b []byte) (int, error) {
	select {
	case <-c.stop:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return c.Conn.Read(b)
	}
}

func (c *stoppable) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// tcpWorld is a world whose link is on TCP, and what has a process dial there, one
// that is stopped with stop.
func tcpWorld(t *testing.T, change func(*HubConfig)) (w *world, overTCP func(stop chan struct{}) func(*process, *ClientConfig)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, change)
	w.hub.Serve(listener)
	return w, func(stop chan struct{}) func(*process, *ClientConfig) {
		return func(_ *process, c *ClientConfig) {
			c.Resolve = At(listener.Addr().String())
			c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				conn, err := dial(ctx, address)
				if err != nil {
					return nil, err
				}
				return &stoppable{Conn: conn, stop: stop, closed: make(chan struct{})}, nil
			}
		}
	}
}

// TestAStoppedProcessIsCutOff for its silence, and so its sessions have no routes.
func TestAStoppedProcessIsCutOff(t *testing.T) {
	w, overTCP := tcpWorld(t, func(c *HubConfig) { c.alive = keepalive.ServerParameters{Time: time.Second, Timeout: time.Second} })
	stop := make(chan struct{})
	stopped := w.attach("stopped", overTCP(stop))
	gone := int(stopped.index.Load())
	close(stop)
	w.chat.waitHas(t, fmt.Sprintf("unregister %d", gone))
}

// TestAStoppedProcessOnTCPIsBounded: what waits for it stays within its bounds
// whatever is sent, and others notice nothing.
func TestAStoppedProcessOnTCPIsBounded(t *testing.T) {
	w, overTCP := tcpWorld(t, nil)
	w.hub.bounds = bounds{hint: 1 << 20, whisper: 1 << 20, owed: 2 << 20, last: 3 << 20, asked: 1 << 20}
	stop := make(chan struct{})
	stopped, well := w.attach("stopped", overTCP(stop)), w.attach("well", overTCP(nil))
	w.connect(stopped, 1, "alice")
	w.connect(well, 1, "bob")
	close(stop)
	before := heap()
	large, small := entry(1, strings.Repeat("x", 64<<10)), entry(1, "hi")
	for n := range 1000 { // 64 MiB
		w.hub.Deliver([]godwit.SessionID{stopped.at(1)}, &large)
		small.Seq = godwit.Seq(n + 1)
		w.hub.Deliver([]godwit.SessionID{well.at(1)}, &small)
		if s := edgeNamed(w, "stopped"); s.QueueBytes > w.hub.bounds.hint {
			t.Fatalf("%d bytes wait", s.QueueBytes)
		}
	}
	if got := well.edge.waitFor(t, 1000); !strings.HasPrefix(got[999], `deliver [1] {"ev":{"seq":1000,`) {
		t.Errorf("the process that is well got %.100q last", got[999])
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d bytes more are held, and most of 64 MiB was to be dropped", grown)
	}
	if s := edgeNamed(w, "stopped"); s.HintsLost == 0 || s.Sessions != 1 {
		t.Errorf("%+v", s)
	}
	w.hub.Close(well.at(1), 4000, "x")
	well.edge.waitHas(t, "close 1 4000 x")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
