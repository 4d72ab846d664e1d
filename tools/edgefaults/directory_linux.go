package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// startDirectory starts devtikv.
func (c *cluster) startDirectory(ctx context.Context) (err error) {
	if c.directory, err = c.member("devtikv", c.o.DevTiKV); err != nil {
		return err
	}
	m := c.directory
	m.args = []string{"--pd", m.address + ":0", "--stats", m.address + ":0"}
	return m.start(ctx, func(line string) bool {
		if rest, ok := strings.CutPrefix(line, "pd on "); ok {
			c.pd = strings.TrimSpace(rest)
		}
		if rest, ok := strings.CutPrefix(line, "stats on "); ok {
			m.ops = strings.TrimRight(strings.TrimSpace(rest), "/")
		}
		return c.pd != "" && m.ops != ""
	})
}

// knowEachOther waits until every edge names all of them to a client that asks.
func (c *cluster) knowEachOther(ctx context.Context, token string) error {
	if c.directory == nil {
		return nil
	}
	for _, m := range c.edges {
		named := 0
		err := until(ctx, readyPatience, m.name+" names all edges", func() bool {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.listen+"/v1/edges", nil)
			if err != nil {
				return false
			}
			request.Header.Set("Authorization", "Bearer "+token)
			_, body, err := c.do(request)
			var said struct{ Edges []struct{ Node string } }
			if err != nil || json.Unmarshal([]byte(body), &said) != nil {
				return false
			}
			named = len(said.Edges)
			return named == len(c.edges)
		})
		if err != nil {
			return fmt.Errorf("%w; it names %d", err, named)
		}
	}
	return nil
}

// counts are the operations that arrived at the directory, by kind.
type counts struct {
	kv, pd map[string]int
}

// counts asks the directory what it was asked.
func (c *cluster) counts(ctx context.Context) (n counts, err error) {
	if c.directory == nil {
		return n, nil
	}
	status, body, err := c.get(ctx, c.directory.ops+"/stats")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	var said struct{ KV, PD map[string]int }
	if err == nil {
		err = json.Unmarshal([]byte(body), &said)
	}
	if err != nil {
		return n, fmt.Errorf("the counters of the directory: %w", err)
	}
	return counts{said.KV, said.PD}, nil
}

// since returns what grew, and by how much together.
func since(before, after map[string]int) (kinds map[string]int, all int) {
	kinds = map[string]int{}
	for kind, n := range after {
		if d := n - before[kind]; d != 0 {
			kinds[kind] = d
			all += d
		}
	}
	return kinds, all
}

// fault has the directory misbehave; what is not named stays as it is.
func (c *cluster) fault(ctx context.Context, what map[string]any) error {
	return c.post(ctx, c.directory.ops+"/fault", what)
}

// toldPatience is how long it may take to tell the directory of sessions.
const toldPatience = 45 * time.Second

// told waits until the edges have told the directory of all sessions that came and
// went; false: they have not in time.
func (c *cluster) told(ctx context.Context) bool {
	look := time.NewTicker(toldEvery)
	defer look.Stop()
	for late := time.After(toldPatience); ; {
		untold, err := c.sum(ctx, nil, "godwit_router_routes_queued", "godwit_router_routes_dirty")
		if err == nil && untold == 0 {
			return true
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return false
		case <-late:
			return false
		}
	}
}

// toldEvery spares the servers: a page of metrics is not free.
const toldEvery = 300 * time.Millisecond

// sum adds up metrics of the edges that run, but one.
func (c *cluster) sum(ctx context.Context, but *member, names ...string) (sum int, err error) {
	for _, m := range c.edges {
		if m == but {
			continue
		}
		select {
		case <-m.ended:
			continue
		default:
		}
		_, body, err := c.get(ctx, m.ops+"/metrics")
		if err != nil {
			return 0, err
		}
		for _, name := range names {
			n, ok := metric(body, name)
			if !ok {
				return 0, fmt.Errorf("%s has no metric %s", m.name, name)
			}
			sum += n
		}
	}
	return sum, nil
}

// metric reads one value of a page of metrics.
func metric(page, name string) (int, bool) {
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return int(v), err == nil
		}
	}
	return 0, false
}
