package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// BenchmarkTLS compares both listeners of one real server in interleaved
// rounds: the server's CPU per echoed message of 128 bytes, the CPU of opening a
// connection, and its memory per idle session.
func BenchmarkTLS(b *testing.B) {
	p := newPKI(b)
	fresh := func() *server {
		s := newServer(b, "conformance", "GODWIT_TLS_CERT="+p.cert, "GODWIT_TLS_KEY="+p.key, "GODWIT_TLS_LISTEN=127.0.0.1:0", "GODWIT_EDGE_PER_SOURCE=100000")
		s.start()
		return s
	}
	s := fresh()
	dial := func(secure bool) net.Conn {
		address := s.listen
		if secure {
			address = s.tls
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		if secure {
			conn = tls.Client(conn, &tls.Config{RootCAs: p.roots, ServerName: "127.0.0.1"})
		}
		return conn
	}
	cpu := func() float64 { return metric(b, s.ops, "process_cpu_seconds_total") }
	both := [2]string{"plain", "tls"}

	b.Run("echo", func(b *testing.B) {
		var spent [2][]float64
		for b.Loop() {
			for range 7 {
				for i := range both {
					spent[i] = append(spent[i], echoRound(b, 100, 1500, func() net.Conn { return dial(i == 1) }, cpu))
				}
			}
		}
		for i, name := range both {
			slices.Sort(spent[i])
			b.ReportMetric(spent[i][len(spent[i])/2], name+"-µs/msg")
		}
	})
	b.Run("open", func(b *testing.B) {
		const n = 500
		var spent [2]float64
		for b.Loop() {
			for i := range both {
				before := cpu()
				for range n {
					upgradeOver(b, dial(i == 1), s.listen, "/echo").Close()
				}
				spent[i] += (cpu() - before) * 1e6 / n
			}
		}
		for i, name := range both {
			b.ReportMetric(spent[i]/float64(b.N), name+"-µs/conn")
		}
	})
	b.Run("idle", func(b *testing.B) {
		for i, name := range both {
			s.kill()
			s = fresh() // whose memory nothing else has grown
			idleSessions(b, s, name, func() net.Conn { return dial(i == 1) })
		}
	})
}

// idleSessions reports what authenticated sessions cost that do nothing.
func idleSessions(b *testing.B, s *server, name string, dial func() net.Conn) {
	const n = 2000
	users := make([]string, n/25)
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i)
	}
	tokens := s.tokens(users...)
	rss, goroutines := metric(b, s.ops, "process_resident_memory_bytes"), metric(b, s.ops, "go_goroutines")
	for i := range n {
		conn := upgradeOver(b, dial(), s.listen, "/v1/ws")
		defer conn.Close()
		writeText(b, conn, fmt.Sprintf(`{"id":1,"connect":{"token":%q,"device":"d%d"}}`, tokens[users[i%len(users)]], i/len(users)))
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((metric(b, s.ops, "process_resident_memory_bytes")-rss)/n, name+"-rss/session")
	b.ReportMetric((metric(b, s.ops, "go_goroutines")-goroutines)/n, name+"-goroutines/session")
}

// echoRound has each of some connections wait for the echo of message after
// message, and returns the server's CPU µs per message.
func echoRound(b *testing.B, conns, messages int, dial func() net.Conn, cpu func() float64) float64 {
	b.Helper()
	open := make([]net.Conn, conns)
	for i := range open {
		open[i] = upgradeOver(b, dial(), "127.0.0.1", "/echo")
		defer open[i].Close()
	}
	before := cpu()
	var all sync.WaitGroup
	for _, conn := range open {
		all.Go(func() {
			text, echo := strings.Repeat("x", 128), make([]byte, 4+128)
			for range messages {
				writeText(b, conn, text)
				if _, err := io.ReadFull(conn, echo); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return (cpu() - before) * 1e6 / float64(conns*messages)
}

// upgradeOver opens a WebSocket; what comes after the answer is not read ahead.
func upgradeOver(b *testing.B, conn net.Conn, host, path string) net.Conn {
	b.Helper()
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, host)
	reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || reply.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("upgrade: %v, %v", reply, err)
	}
	return conn
}

// writeText sends a text message of up to 64 KiB, masked with zeros.
func writeText(b *testing.B, conn net.Conn, text string) {
	n := len(text)
	frame := append([]byte{0x81, 0x80 | 126, byte(n >> 8), byte(n), 0, 0, 0, 0}, text...)
	if _, err := conn.Write(frame); err != nil {
		b.Error(err)
	}
}
