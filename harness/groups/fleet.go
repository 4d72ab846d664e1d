package groups

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// fleet is the sessions of the first users. Every message's text begins with the
// number of the cell it belongs to and the time it was sent.
type fleet struct {
	clients []*client.Client
	running sync.WaitGroup
	stop    context.CancelFunc

	cell      atomic.Int64 // messages of other cells are not counted
	delivered atomic.Int64
	repeated  atomic.Int64
	awaited   atomic.Int64  // deliveries after which all is signalled
	all       chan struct{} // room for one

	mu        sync.Mutex
	latencies []float64 // ms
}

// connectors is how many sessions are opened at once.
const connectors = 32

func userName(i int) string { return "user" + strconv.Itoa(i) }

// connect opens the sessions and returns when all are there.
func connect(ctx context.Context, cfg *Config) (*fleet, error) {
	names := make([]string, cfg.Online)
	for i := range names {
		names[i] = userName(i)
	}
	tokens, err := cfg.Tokens(names)
	if err != nil {
		return nil, err
	}
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	f := &fleet{clients: make([]*client.Client, cfg.Online), stop: stop, all: make(chan struct{}, 1)}
	var next atomic.Int64
	errs := make(chan error, connectors)
	for range connectors {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= cfg.Online {
					errs <- nil
					return
				}
				c, err := client.Dial(ctx, client.Config{
					URL: cfg.URL, Token: tokens[i], Device: "bench", Transport: client.WebSocket, NoDelivered: true, Dial: dialFrom(i),
				})
				if err != nil {
					errs <- fmt.Errorf("session of %s: %w", names[i], err)
					return
				}
				f.clients[i] = c
				f.running.Go(func() { f.listen(listening, c) })
			}
		}()
	}
	for range connectors {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// dialFrom spreads sessions over source addresses: one has too few ports for many
// servers' worth of connections.
func dialFrom(i int) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/8192))}}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() || ip.To4() == nil {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		return d.DialContext(ctx, network, address)
	}
}

func (f *fleet) close() {
	f.stop()
	var closing sync.WaitGroup
	for chunk := range slices.Chunk(f.clients, max(1, len(f.clients)/connectors)) {
		closing.Go(func() {
			for _, c := range chunk {
				if c != nil {
					_ = c.Close()
				}
			}
		})
	}
	closing.Wait()
	f.running.Wait()
}

// listen counts what one session receives.
func (f *fleet) listen(ctx context.Context, c *client.Client) {
	var last godwit.Seq // gseq of the cell's group
	var of int64
	for item, err := range c.Events(ctx) {
		if err != nil {
			return
		}
		e := &item.Entry
		if e.Kind != godwit.EntryMessage || e.GSeq == 0 || e.IsSkip() {
			continue
		}
		cell, sent, ok := parseText(e.Msg.Body)
		if !ok || cell != f.cell.Load() {
			continue
		}
		if of != cell {
			of, last = cell, 0
		}
		if e.GSeq <= last {
			f.repeated.Add(1)
			continue
		}
		last = e.GSeq
		if sent != 0 {
			f.took(float64(time.Now().UnixNano()-sent) / 1e6)
		}
		if f.delivered.Add(1) == f.awaited.Load() {
			select {
			case f.all <- struct{}{}:
			default:
			}
		}
	}
}

func (f *fleet) took(ms float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latencies = append(f.latencies, ms)
}

// begin makes the fleet count the deliveries of a new cell.
func (f *fleet) begin(cell int64, awaited int) {
	f.delivered.Store(0)
	f.repeated.Store(0)
	f.awaited.Store(int64(awaited))
	f.mu.Lock()
	f.latencies = nil
	f.mu.Unlock()
	select {
	case <-f.all:
	default:
	}
	f.cell.Store(cell)
}

// cellPatience bounds the wait for the deliveries of one cell since its last send.
const cellPatience = time.Minute

// await returns when all deliveries came, or how many did not.
func (f *fleet) await(ctx context.Context) (lost int) {
	ctx, cancel := context.WithTimeout(ctx, cellPatience)
	defer cancel()
	select {
	case <-f.all:
		return 0
	case <-ctx.Done():
		return int(f.awaited.Load() - f.delivered.Load())
	}
}

// bodyBytes is the size of every message's text.
const bodyBytes = 128

// text is a message's: the cell, the time of sending in ns if its latency counts.
func text(cell, sent int64) string {
	t := fmt.Sprintf("%d %d ", cell, sent)
	return t + strings.Repeat("x", max(0, bodyBytes-len(t)))
}

func parseText(b []byte) (cell, sent int64, ok bool) {
	first, rest, ok1 := strings.Cut(string(b[:min(len(b), 48)]), " ")
	second, _, ok2 := strings.Cut(rest, " ")
	cell, err1 := strconv.ParseInt(first, 10, 64)
	sent, err2 := strconv.ParseInt(second, 10, 64)
	return cell, sent, ok1 && ok2 && err1 == nil && err2 == nil
}
