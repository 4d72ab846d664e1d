package edge

import (
	"crypto/tls"
	"net"
	"runtime"
	"testing"

	"github.com/godwit-im/godwit/edge/ws"
)

// BenchmarkIdleConnection reports what an idle connection holds in this process:
// heap and stacks, and goroutines. The client's side is a bare socket (its TLS
// state is forgotten), so that the difference to plain is the tunnel. "used" is
// after a record of 16 KiB, the longest there is, has come and gone.
func BenchmarkIdleConnection(b *testing.B) {
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		for _, used := range []bool{false, true} {
			name := "plain"
			if version != 0 {
				name = tls.VersionName(version)
			}
			if used {
				name += "-used"
			}
			b.Run(name, func(b *testing.B) { idleConnections(b, version, used) })
		}
	}
}

func idleConnections(b *testing.B, version uint16, used bool) {
	const n = 2000
	e, config := newTLSEdge(b, &fakeChat{}, func(c *Config) { c.EchoPath, c.PerSourceMax = "/echo", n+1 })
	config.MaxVersion, config.DynamicRecordSizingDisabled = version, true
	open := func() net.Conn {
		if version == 0 {
			conn, err := net.Dial("tcp", e.Addr())
			if err != nil {
				b.Fatal(err)
			}
			converse(b, conn, used)
			return conn
		}
		conn, err := net.Dial("tcp", e.TLSAddr())
		if err != nil {
			b.Fatal(err)
		}
		converse(b, tls.Client(conn, config), used)
		return conn
	}
	warm := open()
	defer warm.Close()
	for b.Loop() {
		conns := make([]net.Conn, n)
		before, goroutines := held(), runtime.NumGoroutine()
		for i := range conns {
			conns[i] = open()
		}
		b.ReportMetric(float64(held()-before)/n, "B/conn")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/n, "goroutines/conn")
		for _, conn := range conns {
			_ = conn.Close()
		}
		waitFor(b, func() bool { return e.Stats().Connections == 1 })
	}
}

// converse upgrades to the echo and has one message come back.
func converse(b *testing.B, conn net.Conn, used bool) {
	b.Helper()
	c := upgradeEcho(b, conn)
	size := 100
	if used {
		size = 16<<10 - 8 // and the frame's header
	}
	c.message(ws.Binary, make([]byte, size))
	if ev, ok := c.event(); !ok || len(ev.Payload) != size {
		b.Fatal("no echo")
	}
}

// held is the memory in use after a collection.
func held() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools let go of
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
