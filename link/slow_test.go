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

// TestAStoppedProcessOnTCPIsBoundedAndCutOff: what waits for it stays within its
// bounds whatever is sent, others notice nothing, and its silence ends it.
func TestAStoppedProcessOnTCPIsBoundedAndCutOff(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *HubConfig) { c.alive = keepalive.ServerParameters{Time: time.Second, Timeout: 4 * time.Second} }) // time for those who are only slow
	w.hub.bounds = bounds{hint: 1 << 20, whisper: 1 << 20, owed: 2 << 20, last: 3 << 20, asked: 1 << 20}
	w.hub.Serve(listener)
	stop := make(chan struct{})
	overTCP := func(_ *process, c *ClientConfig) {
		c.Resolve, c.Dial = At(listener.Addr().String()), nil
	}
	stopped := w.attach("stopped", func(p *process, c *ClientConfig) {
		overTCP(p, c)
		c.alive.Time = time.Hour // a stopped process does not end itself
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dial(ctx, address)
			if err != nil {
				return nil, err
			}
			return &stoppable{Conn: conn, stop: stop, closed: make(chan struct{})}, nil
		}
	})
	well := w.attach("well", overTCP)
	w.connect(stopped, 1, "alice")
	w.connect(well, 1, "bob")
	gone := int(stopped.index.Load())

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
	w.chat.waitHas(t, fmt.Sprintf("unregister %d", gone))
	if list := w.hub.Edges(); len(list) != 1 || list[0].Node != "well" {
		t.Errorf("%+v", list)
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
