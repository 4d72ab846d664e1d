package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of what a server may say about edges.
const (
	assignedMax      = 16
	assignedTriesMax = 3 // edges tried in one attempt, before the address of Config
	assignedBytesMax = 64 << 10
	assignedTTLMin   = 5 * time.Second
	assignedTTLMax   = time.Hour
)

// assigned is which edges this user should use. Attempts ask it from their own
// goroutines; its lock is not held while a server is asked.
type assigned struct {
	mu    sync.Mutex
	list  []string  // addresses, the best first
	until time.Time // the list is good so long
}

// addresses returns where to connect: the edges named for this user, then the
// address of Config. It asks for them when they are too old.
func (a *assigned) addresses(ctx context.Context, cfg *Config, token string) []string {
	a.mu.Lock()
	list, fresh := a.list, cfg.clock.Now().Before(a.until)
	a.mu.Unlock()
	if !fresh {
		asked, ttl, err := askEdges(ctx, cfg, token)
		if err != nil {
			cfg.Logger.Debug("which edge to use is not known", "error", err) // the old list is better than none
		} else {
			list = asked
			a.mu.Lock()
			a.list, a.until = list, cfg.clock.Now().Add(ttl)
			a.mu.Unlock()
		}
	}
	list = slices.Clone(list[:min(len(list), assignedTriesMax)])
	return append(list, cfg.URL)
}

// failed puts an edge behind all others.
func (a *assigned) failed(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.list, address); i >= 0 {
		a.list = append(slices.Delete(slices.Clone(a.list), i, i+1), address)
	}
}

// forget has the next attempt ask anew.
func (a *assigned) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until = time.Time{}
}

// askEdges is GET edges, beside the WebSocket of Config's address.
func askEdges(ctx context.Context, cfg *Config, token string) (list []string, ttl time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.OpenTimeout/3)
	defer cancel()
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, 0, err
	}
	secure := u.Scheme == "wss"
	u.Scheme = map[bool]string{false: "http", true: "https"}[secure]
	u.Path, u.RawPath = path.Join("/", path.Dir(u.Path), "edges"), ""
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{DialContext: cfg.Dial, TLSClientConfig: cfg.TLS.Clone(), DisableKeepAlives: true}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("edges: status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, assignedBytesMax))
	if err != nil {
		return nil, 0, err
	}
	return parseEdges(body, secure)
}

// parseEdges reads the answer. Who was told to use TLS is not led away from it.
func parseEdges(body []byte, secure bool) (list []string, ttl time.Duration, err error) {
	var answer struct {
		Edges []struct {
			URL string `json:"url"`
		} `json:"edges"`
		TTL int64 `json:"ttl"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, 0, fmt.Errorf("edges: %w", err)
	}
	for _, e := range answer.Edges {
		u, err := url.Parse(e.URL)
		if err != nil || u.Host == "" || u.Scheme != "wss" && (secure || u.Scheme != "ws") || strings.ContainsAny(e.URL, "\r\n") {
			continue
		}
		if len(list) < assignedMax && !slices.Contains(list, e.URL) {
			list = append(list, e.URL)
		}
	}
	ttl = time.Duration(min(max(answer.TTL, 0), int64(assignedTTLMax/time.Second))) * time.Second
	return list, max(ttl, assignedTTLMin), nil
}

// reach connects to the first address that takes us, and says which that was. An
// edge that is not the last resort has a third of the time.
func (l *loop) reach(ctx context.Context, kind Transport, address, token string) (connection, string, error) {
	addresses := []string{address}
	if l.cfg.Assign && address == l.cfg.URL {
		addresses = l.assigned.addresses(ctx, l.cfg, token)
	}
	for i, address := range addresses {
		last, limit := i == len(addresses)-1, l.cfg.OpenTimeout
		if !last {
			limit = l.cfg.OpenTimeout / 3
		}
		within, cancel := context.WithTimeout(ctx, limit)
		c, err := l.connect(within, kind, l.cfg.routed(address, token), token)
		cancel()
		if err == nil || last || remedyFor(err) != backOff || ctx.Err() != nil {
			return c, address, err
		}
		l.cfg.Logger.Debug("edge not reached, trying the next", "address", address, "error", err)
		l.assigned.failed(address)
	}
	panic("BUG: no address to connect to")
}

func (l *loop) connect(ctx context.Context, kind Transport, address, token string) (connection, error) {
	if kind == LongPoll {
		p, err := newPoller(l.cfg, address, token, l.events)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	s, err := openSocket(ctx, l.cfg, address, l.events)
	if err != nil {
		return nil, err
	}
	return s, nil
}
