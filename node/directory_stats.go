package node

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/tikv"
)

// directoryStats are the counters of this process's part in the directory.
type directoryStats struct {
	router.Stats
	registrar router.RegistrarStats
	store     tikv.Stats // zero for another store
	away      bool
	claimed   bool
	edges     [3]int // by verdict
	nodes     [3]int
}

// stats is nil where there is no directory.
func (d *directory) stats() *directoryStats {
	if d == nil {
		return nil
	}
	s := &directoryStats{Stats: d.Directory.Stats(), away: d.away()}
	if d.registrar != nil {
		s.registrar = d.registrar.Stats()
	}
	if t, ok := d.store.(*tikv.Store); ok {
		s.store = t.Stats()
	}
	for _, lease := range []*router.Lease{d.lease, d.engine} {
		if lease != nil {
			_, epoch := lease.ID()
			s.claimed = epoch != 0
		}
	}
	view := d.View()
	for i := range view.Edges {
		s.edges[view.Edges[i].Verdict]++
	}
	for i := range view.Nodes {
		s.nodes[view.Nodes[i].Verdict]++
	}
	return s
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// directorySeries are there where router.store names a directory.
func (cfg *Config) directorySeries() []series {
	if !cfg.directory() {
		return nil
	}
	of := func(value func(*directoryStats) float64) func(*snapshot) float64 {
		return func(s *snapshot) float64 { return value(s.directory) }
	}
	all := []series{
		gauge("router_store_up", "1 while the directory's store is asked; 0: it is away, and its breaker open.", of(func(s *directoryStats) float64 { return oneIf(!s.away) })),
		gauge("router_lease_claimed", "1 once the directory knows of this process.", of(func(s *directoryStats) float64 { return oneIf(s.claimed) })),
		counter("router_conflicts_total", "Transactions of the directory begun again because another was faster.", of(func(s *directoryStats) float64 { return float64(s.Conflicts) })),
		counter("router_unknown_total", "Commits whose outcome was not known, and was read again.", of(func(s *directoryStats) float64 { return float64(s.Unknown) })),
		counter("router_malformed_total", "Values of the directory that could not be read.", of(func(s *directoryStats) float64 { return float64(s.Malformed) })),
		counter("router_scans_total", "Readings of leases and nodes.", of(func(s *directoryStats) float64 { return float64(s.Scans) })),
		counter("router_scan_failures_total", "Readings that failed; verdicts stand meanwhile.", of(func(s *directoryStats) float64 { return float64(s.ScanFailures) })),
	}
	if cfg.holdsClients() {
		all = append(all,
			gauge("router_routes_queued", "Sessions that wait to be told to the directory.", of(func(s *directoryStats) float64 { return float64(s.registrar.Queued) })),
			gauge("router_routes_dirty", "Sessions that came or went while the directory's store was away.", of(func(s *directoryStats) float64 { return float64(s.registrar.Dirty) })),
			counter("router_routes_registered_total", "Routes registered.", of(func(s *directoryStats) float64 { return float64(s.registrar.Registered) })),
			counter("router_routes_removed_total", "Routes removed.", of(func(s *directoryStats) float64 { return float64(s.registrar.Removed) })),
			counter("router_routes_refused_total", "Sessions closed because their device has a newer one at another edge.", of(func(s *directoryStats) float64 { return float64(s.registrar.Refused) })),
			counter("router_routes_failed_total", "Attempts to tell of routes that a store did not take.", of(func(s *directoryStats) float64 { return float64(s.registrar.Failed) })),
			counter("router_transactions_total", "Transactions that told of routes.", of(func(s *directoryStats) float64 { return float64(s.registrar.Transactions) })),
		)
	}
	return all
}

// directoryCollector shows what has labels.
type directoryCollector struct {
	read                           func() *snapshot
	operations, failures, duration *prometheus.Desc
	members                        *prometheus.Desc
}

func newDirectoryCollector(read func() *snapshot) *directoryCollector {
	return &directoryCollector{
		read:       read,
		operations: prometheus.NewDesc("godwit_router_store_operations_total", "Operations of the directory's store.", []string{"operation"}, nil),
		failures:   prometheus.NewDesc("godwit_router_store_failures_total", "Operations that did not succeed: conflict, unknown, unavailable.", []string{"operation", "kind"}, nil),
		duration:   prometheus.NewDesc("godwit_router_store_seconds_total", "Time that operations took, those left out that were not tried.", []string{"operation"}, nil),
		members:    prometheus.NewDesc("godwit_router_members", "Edges and engine nodes of the directory, as this process sees them.", []string{"kind", "verdict"}, nil),
	}
}

func (c *directoryCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.operations, c.failures, c.duration, c.members} {
		out <- d
	}
}

func (c *directoryCollector) Collect(out chan<- prometheus.Metric) {
	s := c.read()
	if s == nil || s.directory == nil {
		return
	}
	for name, o := range s.directory.store.Operations {
		out <- prometheus.MustNewConstMetric(c.operations, prometheus.CounterValue, float64(o.Count), name)
		out <- prometheus.MustNewConstMetric(c.duration, prometheus.CounterValue, o.Latency.Seconds(), name)
		for kind, n := range map[string]uint64{"conflict": o.Conflicts, "unknown": o.Unknown, "unavailable": o.Unavailable} {
			out <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(n), name, kind)
		}
	}
	for verdict := router.Alive; verdict <= router.Dead; verdict++ {
		out <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(s.directory.edges[verdict]), "edge", verdict.String())
		out <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(s.directory.nodes[verdict]), "engine", verdict.String())
	}
}

// DirectoryPath is where the ops endpoint shows the directory.
const DirectoryPath = "/v1/directory"

// DirectoryInfo is the directory as one process sees it.
type DirectoryInfo struct {
	Away  bool         `json:"away"` // the store; what follows is as it was
	Edges []MemberInfo `json:"edges"`
	Nodes []MemberInfo `json:"nodes"`
}

// MemberInfo is one edge or engine node.
type MemberInfo struct {
	Name     string    `json:"name"`
	Number   uint32    `json:"number,omitempty"` // of an edge
	Epoch    uint64    `json:"epoch"`
	State    string    `json:"state"`
	Verdict  string    `json:"verdict"`
	URL      string    `json:"url,omitempty"`
	Address  string    `json:"address,omitempty"`
	Zone     string    `json:"zone,omitempty"`
	Version  string    `json:"version,omitempty"`
	Sessions uint64    `json:"sessions"`
	Capacity uint64    `json:"capacity,omitempty"`
	Beat     time.Time `json:"beat"` // the last one, by the store's clock
}

func (n *Node) serveDirectory(w http.ResponseWriter, _ *http.Request) {
	if n.tiers.Load() == nil {
		http.Error(w, "the process is starting", http.StatusServiceUnavailable)
		return
	}
	view := n.directory.View()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(DirectoryInfo{Away: n.directory.away(), Edges: membersOf(view.Edges), Nodes: membersOf(view.Nodes)})
}

func membersOf(peers []router.Peer) []MemberInfo {
	list := make([]MemberInfo, 0, len(peers))
	for i := range peers {
		p := &peers[i]
		list = append(list, MemberInfo{
			Name: p.Name, Number: p.Number, Epoch: p.Epoch, State: p.State.String(), Verdict: p.Verdict.String(), URL: p.URL, Address: p.Address,
			Zone: p.Zone, Version: p.Version, Sessions: p.Sessions, Capacity: p.Capacity, Beat: time.UnixMilli(p.At.Milliseconds()).UTC(),
		})
	}
	return list
}
