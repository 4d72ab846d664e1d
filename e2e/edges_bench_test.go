package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit/client"
)

// BenchmarkEdgeProcesses compares one process (edges=0) with an engine process
// and edge processes: 16 users in pairs send 128-byte texts, each with one send
// under way (window=1: what latency it adds) or 32 (what CPU it costs). One op is
// one message, stored and delivered. The CPU is of all processes of the server;
// latency is from send to acknowledgement and holds an fdatasync.
func BenchmarkEdgeProcesses(b *testing.B) {
	for _, window := range []int{1, 32} {
		for _, edges := range []int{0, 1, 2} {
			b.Run(fmt.Sprintf("window=%d/edges=%d", window, edges), func(b *testing.B) { benchmarkEdgeProcesses(b, edges, window) })
		}
	}
}

func benchmarkEdgeProcesses(b *testing.B, edges, window int) {
	const sessions = 16
	s := newServer(b, "", "GODWIT_LIMITS_FRAMES_PER_S=0", "GODWIT_LIMITS_USER_SEND_PER_S=0", fmt.Sprintf("GODWIT_EDGES=%d", edges))
	s.start()
	ops := []string{s.ops}
	for _, e := range edgesOf(b, s.ops) {
		ops = append(ops, e.Ops)
	}
	total := func(name string) (sum float64) {
		for _, address := range ops {
			sum += metric(b, address, name)
		}
		return sum
	}
	var users []string
	for i := range sessions {
		users = append(users, fmt.Sprintf("user-%d", i))
	}
	tokens := s.tokens(users...)
	ctx, share := b.Context(), (b.N+sessions-1)/sessions
	var clients []*client.Client
	for _, user := range users {
		c, err := client.Dial(ctx, client.Config{URL: s.url(), Token: tokens[user], NoDelivered: true})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	text := strings.Repeat("x", 128)
	engine, cpu := metric(b, s.ops, "process_cpu_seconds_total"), total("process_cpu_seconds_total")
	b.ResetTimer()
	var sent, received sync.WaitGroup
	times := make([][]time.Duration, sessions)
	for i, c := range clients {
		received.Go(func() { receiveMany(b, ctx, c, 2*share) })
		sent.Go(func() {
			if window > 1 {
				sendMany(b, ctx, c, users[i^1], text, share)
				return
			}
			for range share {
				began := time.Now()
				ticket, err := c.Submit(ctx, users[i^1], client.Message{Text: text})
				if err == nil {
					_, err = ticket.Wait(ctx)
				}
				if err != nil {
					b.Error(err)
					return
				}
				times[i] = append(times[i], time.Since(began))
			}
		})
	}
	sent.Wait()
	received.Wait()
	b.StopTimer()
	n := float64(share * sessions)
	b.ReportMetric(n/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric((total("process_cpu_seconds_total")-cpu)*1e6/n, "server-cpu-µs/message")
	b.ReportMetric((metric(b, s.ops, "process_cpu_seconds_total")-engine)*1e6/n, "engine-cpu-µs/message")
	if all := slices.Concat(times...); len(all) > 0 {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	}
}
