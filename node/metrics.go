package node

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/edge"
	"github.com/godwit-im/godwit/engine"
	"github.com/godwit-im/godwit/hook"
	"github.com/godwit-im/godwit/link"
	"github.com/godwit-im/godwit/presence"
	"github.com/godwit-im/godwit/router/live"
)

// snapshot is what the tiers counted, read once per scrape.
type snapshot struct {
	edge      edge.Stats
	chat      chat.Stats
	presence  presence.Stats
	seen      live.JournalStats
	hook      hook.Stats
	engine    engine.Stats
	keyring   auth.Stats
	tickets   int
	totals    link.HubTotals
	directory *directoryStats // nil: there is none
	links     []link.Stats    // of all edge processes, or of this one
	now       int64           // ms since the Unix epoch
	stored    bool            // this process has a store
}

// snapshot reads the counters of the tiers; nil while they are not up.
func (n *Node) snapshot() *snapshot {
	if n.tiers.Load() == nil {
		return nil
	}
	s := &snapshot{now: n.now()}
	if n.edge != nil {
		s.edge = n.edge.Stats()
	}
	if n.store != nil {
		s.chat, s.engine, s.stored = n.chat.Stats(), n.store.Stats(), true
	}
	if n.hook != nil {
		s.hook = n.hook.Stats()
	}
	if n.presence != nil {
		s.presence = n.presence.Stats()
		s.seen = n.seen.Stats()
	}
	if n.keyring != nil {
		s.keyring = n.keyring.Stats()
	}
	if n.tickets != nil {
		s.tickets = n.tickets.Waiting()
	}
	s.directory = n.directory.stats()
	if n.hub != nil {
		s.totals, s.links = n.hub.Totals(), n.hub.Edges()
	}
	if n.client != nil {
		s.links = []link.Stats{n.client.Stats()}
	}
	return s
}

// series is one time series without labels.
type series struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*snapshot) float64
}

func counter(name, help string, value func(*snapshot) float64) series {
	return series{prometheus.NewDesc("godwit_"+name, help, nil, nil), prometheus.CounterValue, value}
}

func gauge(name, help string, value func(*snapshot) float64) series {
	return series{prometheus.NewDesc("godwit_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

// metrics reads the tiers' counters when it is scraped: the tiers count with
// atomics of their own and know nothing of Prometheus.
type metrics struct {
	read    func() *snapshot // nil result: the tiers are not up
	series  []series
	refused *prometheus.Desc
	closes  *prometheus.Desc
	sync    *prometheus.Desc
	links   []linkSeries
}

// newRegistry has the process's own series and those of its tiers.
func newRegistry(read func() *snapshot, tiers []series) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&metrics{
			read:    read,
			series:  tiers,
			refused: prometheus.NewDesc("godwit_edge_refused_total", "HTTP requests answered with an error, by status.", []string{"status"}, nil),
			closes:  prometheus.NewDesc("godwit_edge_closes_total", "WebSocket connections closed by the server, by close code.", []string{"code"}, nil),
			sync:    prometheus.NewDesc("godwit_engine_fsync_seconds", "Time of one fsync of the WAL.", nil, nil),
			links:   newLinkSeries(),
		})
	return registry
}

func authSeries() []series {
	return []series{
		gauge("auth_keys", "Keys whose tokens are believed.", func(s *snapshot) float64 { return float64(s.keyring.Keys) }),
		gauge("auth_jwks_read_timestamp_ms", "When auth.jwks_url was last read with success, ms since the Unix epoch; 0: never, or there is none.", func(s *snapshot) float64 { return float64(s.keyring.ReadAt) }),
		counter("auth_jwks_failures_total", "Attempts to read auth.jwks_url that failed.", func(s *snapshot) float64 { return float64(s.keyring.Failures) }),
		counter("auth_verified_total", "Tokens whose signature was checked.", func(s *snapshot) float64 { return float64(s.keyring.Verified) }),
		counter("auth_remembered_total", "Tokens believed because they were verified before.", func(s *snapshot) float64 { return float64(s.keyring.Remembered) }),
		gauge("auth_tickets", "Tickets issued that may yet be used.", func(s *snapshot) float64 { return float64(s.tickets) }),
	}
}

func edgeSeries() []series {
	return []series{
		gauge("edge_connections", "Open sockets.", func(s *snapshot) float64 { return float64(s.edge.Connections) }),
		gauge("edge_sessions", "Sessions that are open and authenticated.", func(s *snapshot) float64 { return float64(s.edge.Sessions) }),
		gauge("edge_sessions_held", "Of these, sessions that wait to be opened again by an engine process that was away.", func(s *snapshot) float64 { return float64(s.edge.Held) }),
		counter("edge_reopened_total", "Sessions that were opened again, their clients none the wiser.", func(s *snapshot) float64 { return float64(s.edge.Reopened) }),
		counter("edge_held_refused_total", "Requests answered with unavailable because their session waited.", func(s *snapshot) float64 { return float64(s.edge.HeldRefused) }),
		counter("edge_accepted_total", "Connections accepted.", func(s *snapshot) float64 { return float64(s.edge.Accepted) }),
		counter("edge_upgrades_total", "Connections upgraded to WebSocket.", func(s *snapshot) float64 { return float64(s.edge.Upgrades) }),
		counter("edge_frames_received_total", "Protocol frames from clients.", func(s *snapshot) float64 { return float64(s.edge.FramesIn) }),
		counter("edge_frames_sent_total", "Protocol frames to clients.", func(s *snapshot) float64 { return float64(s.edge.FramesOut) }),
		counter("edge_received_bytes_total", "Bytes read from clients.", func(s *snapshot) float64 { return float64(s.edge.BytesIn) }),
		counter("edge_sent_bytes_total", "Bytes written to clients.", func(s *snapshot) float64 { return float64(s.edge.BytesOut) }),
		counter("edge_events_total", "ev and skip frames among the frames sent.", func(s *snapshot) float64 { return float64(s.edge.Events) }),
		counter("edge_hints_lost_total", "Live hints dropped at a full mailbox; the sessions read the log instead.", func(s *snapshot) float64 { return float64(s.edge.HintsLost) }),
		counter("edge_tells_total", "Frames outside of the readers' logs among the frames sent: entries of channels and their starts.", func(s *snapshot) float64 { return float64(s.edge.Tells) }),
		counter("edge_tells_lost_total", "Such frames that did not fit a mailbox; each closed its session.", func(s *snapshot) float64 { return float64(s.edge.TellsLost) }),
		counter("edge_whispers_total", "Ephemeral frames among the frames sent: typing and presence.", func(s *snapshot) float64 { return float64(s.edge.Whispers) }),
		counter("edge_whispers_lost_total", "Ephemeral frames dropped, at a full mailbox or for a session that reads slowly.", func(s *snapshot) float64 { return float64(s.edge.WhispersLost) }),
		counter("edge_replies_lost_total", "Replies that did not fit a mailbox; each closed its session.", func(s *snapshot) float64 { return float64(s.edge.RepliesLost) }),
		counter("edge_fetches_total", "Reads of a log to fill a session's gap.", func(s *snapshot) float64 { return float64(s.edge.Fetches) }),
		gauge("edge_queue_items", "Items waiting for the event loops.", func(s *snapshot) float64 { return float64(s.edge.QueueItems) }),
		gauge("edge_queue_bytes", "Bytes waiting for the event loops.", func(s *snapshot) float64 { return float64(s.edge.QueueBytes) }),
		gauge("edge_polls", "Polls that are held.", func(s *snapshot) float64 { return float64(s.edge.Polls) }),
		gauge("edge_newcomers", "Open sockets that have not shown a good token.", func(s *snapshot) float64 { return float64(s.edge.Newcomers) }),
		gauge("edge_handshakes", "Sessions whose token is being verified or that are being opened.", func(s *snapshot) float64 { return float64(s.edge.Handshakes) }),
		gauge("edge_memory_used_bytes", "Memory of this process and its sockets by the last look.", func(s *snapshot) float64 { return float64(s.edge.MemoryUsed) }),
		gauge("edge_memory_max_bytes", "The memory budget: edge.memory, or what it was found to be.", func(s *snapshot) float64 { return float64(s.edge.MemoryMax) }),
		counter("edge_shed_total", "Connections ended because memory was short.", func(s *snapshot) float64 { return float64(s.edge.Shed) }),
		gauge("edge_verify_queue", "Tokens waiting to be verified.", func(s *snapshot) float64 { return float64(s.edge.VerifyQueue) }),
	}
}

func tlsSeries() []series {
	return []series{
		counter("tls_handshakes_total", "TLS handshakes done.", func(s *snapshot) float64 { return float64(s.edge.TLSHandshakes) }),
		counter("tls_failed_total", "TLS handshakes broken off, and connections to the TLS port that did not begin one.", func(s *snapshot) float64 { return float64(s.edge.TLSFailed) }),
		counter("proxy_forwarded_total", "Connections whose client a trusted proxy named.", func(s *snapshot) float64 { return float64(s.edge.Forwarded) }),
		counter("proxy_refused_total", "Connections of trusted proxies without a good PROXY header.", func(s *snapshot) float64 { return float64(s.edge.ProxyRefused) }),
	}
}

// certificateMetrics are there with a certificate only, of clients or of the link.
func certificateMetrics(of string, c *certificate) []prometheus.Collector {
	counted := func(name, help string, n *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "godwit_" + of + "_certificate_" + name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "godwit_" + of + "_certificate_days", Help: "Days to the end of the TLS certificate in use."}, c.days),
		counted("loads_total", "Times a TLS certificate was taken into use.", &c.loads),
		counted("refused_total", "Changed TLS certificates that could not be used.", &c.refused),
	}
}

func chatSeries() []series {
	return []series{
		counter("chat_stored_total", "Sends stored.", func(s *snapshot) float64 { return float64(s.chat.Stored) }),
		counter("chat_repeated_total", "Sends answered with the result of an earlier attempt.", func(s *snapshot) float64 { return float64(s.chat.Repeated) }),
		counter("chat_refused_total", "Requests answered with an error.", func(s *snapshot) float64 { return float64(s.chat.Refused) }),
		counter("chat_late_total", "Requests whose deadline came before their result.", func(s *snapshot) float64 { return float64(s.chat.Late) }),
		counter("chat_reads_total", "Reads of logs, conversations and presence.", func(s *snapshot) float64 { return float64(s.chat.Reads) }),
		gauge("chat_reads_running", "Reads accepted and not yet done.", func(s *snapshot) float64 { return float64(s.chat.ReadsRunning) }),
		counter("chat_forwarded_total", "Outbox items that arrived at another raft group.", func(s *snapshot) float64 { return float64(s.chat.Forwarded) }),
		counter("chat_forwards_lost_total", "Forwards that failed and are repeated.", func(s *snapshot) float64 { return float64(s.chat.ForwardsLost) }),
		gauge("chat_outbox_items", "Outbox items on their way to another raft group.", func(s *snapshot) float64 { return float64(s.chat.OutboxItems) }),
		counter("chat_pointers_total", "Pointers to entries of groups that members' logs got.", func(s *snapshot) float64 { return float64(s.chat.Pointers) }),
		counter("chat_fanouts_lost_total", "Fan-outs of groups that failed and are repeated.", func(s *snapshot) float64 { return float64(s.chat.FanoutsLost) }),
		gauge("chat_fanout_groups", "Groups whose members or entries the fan-out holds.", func(s *snapshot) float64 { return float64(s.chat.FanoutGroups) }),
		gauge("chat_fanout_bytes", "Bytes of these members and entries.", func(s *snapshot) float64 { return float64(s.chat.FanoutBytes) }),
		gauge("chat_outbox_oldest_seconds", "Time since the slowest lane that holds items last moved.", func(s *snapshot) float64 { return s.chat.OutboxOldest.Seconds() }),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for i := range m.series {
		ch <- m.series[i].desc
	}
	ch <- m.refused
	ch <- m.closes
	ch <- m.sync
	for i := range m.links {
		ch <- m.links[i].desc
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.read()
	if s == nil {
		return
	}
	for i := range m.series {
		ch <- prometheus.MustNewConstMetric(m.series[i].desc, m.series[i].kind, m.series[i].value(s))
	}
	for status, n := range s.edge.Refused {
		ch <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(n), strconv.Itoa(status))
	}
	for code, n := range s.edge.Closes {
		ch <- prometheus.MustNewConstMetric(m.closes, prometheus.CounterValue, float64(n), strconv.Itoa(int(code)))
	}
	for i := range m.links {
		for j := range s.links {
			ch <- prometheus.MustNewConstMetric(m.links[i].desc, m.links[i].kind, m.links[i].value(&s.links[j]), s.links[j].Node)
		}
	}
	if !s.stored {
		return
	}
	buckets, below := map[float64]uint64{}, uint64(0)
	for i, n := range s.engine.SyncBuckets {
		below += n
		if limit := engine.SyncBucketLimit(i); limit > 0 {
			buckets[limit.Seconds()] = below
		}
	}
	ch <- prometheus.MustNewConstHistogram(m.sync, s.engine.Syncs, s.engine.SyncTime.Seconds(), buckets)
}
