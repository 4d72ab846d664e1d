package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// metric reads one series without labels from /metrics.
func metric(t testing.TB, ops, name string) float64 {
	t.Helper()
	reply, err := http.Get("http://" + ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	for lines := bufio.NewScanner(reply.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no series %s", name)
	return 0
}

// BenchmarkDurableSends drives the real binary over real sockets: users in
// pairs send 128-byte texts to each other, each waiting for "stored" with a
// window of its own, while both receive. One op is one message: stored durably
// in two logs and delivered to the recipient's and the sender's device. Closed
// loop, generator on the same machine: the rate is a lower bound, the server's
// CPU and memory per message are the figures.
func BenchmarkDurableSends(b *testing.B) {
	for _, sessions := range []int{2, 64} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) { benchmarkDurableSends(b, sessions) })
	}
}

func benchmarkDurableSends(b *testing.B, sessions int) {
	s := newServer(b, "", "GODWIT_LIMITS_FRAMES_PER_S=0", "GODWIT_LIMITS_USER_SEND_PER_S=0") // two sessions are the whole load
	s.start()
	var users []string
	for i := range sessions {
		users = append(users, fmt.Sprintf("user-%d", i))
	}
	tokens := s.tokens(users...)
	ctx := b.Context()
	var clients []*client.Client
	var received sync.WaitGroup
	share := (b.N + sessions - 1) / sessions
	for _, user := range users {
		c, err := client.Dial(ctx, client.Config{URL: s.url(), Token: tokens[user], NoDelivered: true})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	text := strings.Repeat("x", 128)
	cpu, rss := metric(b, s.ops, "process_cpu_seconds_total"), metric(b, s.ops, "process_resident_memory_bytes")
	syncs := metric(b, s.ops, "godwit_engine_fsync_seconds_count")
	b.ResetTimer()
	var sent sync.WaitGroup
	for i, c := range clients {
		received.Go(func() { receiveMany(b, ctx, c, 2*share) })
		sent.Go(func() { sendMany(b, ctx, c, users[i^1], text, share) })
	}
	sent.Wait()
	received.Wait()
	b.StopTimer()
	n := float64(share * sessions)
	b.ReportMetric(n/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric((metric(b, s.ops, "process_cpu_seconds_total")-cpu)*1e6/n, "server-cpu-µs/message")
	b.ReportMetric((metric(b, s.ops, "process_resident_memory_bytes")-rss)/n, "server-rss-B/message")
	b.ReportMetric(n/(metric(b, s.ops, "godwit_engine_fsync_seconds_count")-syncs), "messages/fsync")
}

func sendMany(b *testing.B, ctx context.Context, c *client.Client, to, text string, n int) {
	window := make(chan *client.Ticket, 32)
	go func() {
		defer close(window)
		for range n {
			ticket, err := c.Submit(ctx, to, client.Message{Text: text})
			if err != nil {
				b.Error(err)
				return
			}
			window <- ticket
		}
	}()
	for ticket := range window {
		if _, err := ticket.Wait(ctx); err != nil {
			b.Error(err)
			return
		}
	}
}

// receiveMany takes n entries; the SDK holds them to their order.
func receiveMany(b *testing.B, ctx context.Context, c *client.Client, n int) {
	var last godwit.Seq
	for range n {
		item, err := c.Receive(ctx)
		if err != nil {
			b.Error(err)
			return
		}
		last = item.Entry.Seq
	}
	if last != godwit.Seq(n) {
		b.Errorf("the last of %d entries has sequence %d", n, last)
	}
}
