package server

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// counters counts by name. Names come from this package only, so they are few.
type counters struct {
	byName sync.Map // string → *atomic.Uint64
}

func (c *counters) add(name string, n uint64) {
	v, ok := c.byName.Load(name)
	if !ok {
		v, _ = c.byName.LoadOrStore(name, new(atomic.Uint64))
	}
	v.(*atomic.Uint64).Add(n)
}

func (c *counters) snapshot() map[string]uint64 {
	out := make(map[string]uint64)
	c.byName.Range(func(k, v any) bool {
		out[k.(string)] = v.(*atomic.Uint64).Load()
		return true
	})
	return out
}

func (c *counters) reset() { c.byName.Clear() }

// Stats is what the server was asked since its start, or since the last reset.
type Stats struct {
	// KV counts requests to TiKV by kind: get, batch_get, scan, prewrite, 1pc (a
	// prewrite that committed at once), commit, rollback, resolve_lock, …
	KV map[string]uint64 `json:"kv"`
	// PD counts requests to PD by kind: tso, get_region, get_store, …
	PD map[string]uint64 `json:"pd"`
	// Injected counts the faults that were made: region_error, undetermined, stalled.
	Injected map[string]uint64 `json:"injected"`
	// KVTotal and PDTotal are the sums; Timestamps is how many the tso requests gave.
	KVTotal    uint64 `json:"kv_total"`
	PDTotal    uint64 `json:"pd_total"`
	Timestamps uint64 `json:"timestamps"`
	// UptimeMS is since the start.
	UptimeMS int64 `json:"uptime_ms"`
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	out := Stats{
		KV: s.kvCount.snapshot(), PD: s.pdCount.snapshot(), Injected: s.injected.snapshot(),
		Timestamps: s.timestamps.Load(), UptimeMS: time.Since(s.started).Milliseconds(),
	}
	for n := range maps.Values(out.KV) {
		out.KVTotal += n
	}
	for n := range maps.Values(out.PD) {
		out.PDTotal += n
	}
	return out
}

// ResetStats sets the counters to zero.
func (s *Server) ResetStats() {
	s.kvCount.reset()
	s.pdCount.reset()
	s.injected.reset()
	s.timestamps.Store(0)
}
