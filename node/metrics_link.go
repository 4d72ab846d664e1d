package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/godwit-im/godwit/link"
)

// hubSeries are an engine process's view of its edge processes as a whole.
func hubSeries() []series {
	return []series{
		gauge("link_edges", "Edge processes attached.", func(s *snapshot) float64 { return float64(len(s.links)) }),
		counter("link_attached_total", "Attachments of edge processes.", func(s *snapshot) float64 { return float64(s.totals.Attached) }),
		counter("link_refused_total", "Edge processes refused: another version, a wrong secret, no index left.", func(s *snapshot) float64 { return float64(s.totals.Refused) }),
		counter("link_untrusted_total", "TLS handshakes of the link that failed, and certificates of another cluster, role or name.", func(s *snapshot) float64 { return float64(s.totals.Untrusted) }),
		counter("link_lost_total", "Edge processes that left or were lost.", func(s *snapshot) float64 { return float64(s.totals.Lost) }),
	}
}

// clientSeries are an edge process's view of its engine process.
func clientSeries() []series {
	return []series{
		gauge("link_up", "1 while the engine process is attached.", func(s *snapshot) float64 {
			if len(s.links) == 1 && s.links[0].Ready {
				return 1
			}
			return 0
		}),
		counter("link_untrusted_total", "Attempts to attach that ended at a certificate, this process's or the engine process's.", func(s *snapshot) float64 {
			if len(s.links) == 1 {
				return float64(s.links[0].Untrusted)
			}
			return 0
		}),
	}
}

// linkSeries is one time series for each edge process.
type linkSeries struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*link.Stats) float64
}

// newLinkSeries are the streams' counters, on both sides; each counts from the
// attachment on in the engine process, from the start on in the edge process.
func newLinkSeries() []linkSeries {
	one := func(kind prometheus.ValueType, name, help string, value func(*link.Stats) float64) linkSeries {
		return linkSeries{prometheus.NewDesc("godwit_link_"+name, help, []string{"edge"}, nil), kind, value}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []linkSeries{
		one(gauge, "sessions", "Sessions of an edge process.", func(s *link.Stats) float64 { return float64(s.Sessions) }),
		one(gauge, "queue_bytes", "Bytes waiting to be sent.", func(s *link.Stats) float64 { return float64(s.QueueBytes) }),
		one(counter, "sent_bytes_total", "Bytes of batches sent.", func(s *link.Stats) float64 { return float64(s.SentBytes) }),
		one(counter, "sent_batches_total", "Batches sent.", func(s *link.Stats) float64 { return float64(s.SentBatches) }),
		one(counter, "sent_items_total", "Items in the batches sent and in those that wait.", func(s *link.Stats) float64 { return float64(s.SentItems) }),
		one(counter, "received_bytes_total", "Bytes of batches received.", func(s *link.Stats) float64 { return float64(s.GotBytes) }),
		one(counter, "received_batches_total", "Batches received.", func(s *link.Stats) float64 { return float64(s.GotBatches) }),
		one(counter, "received_items_total", "Items in the batches received.", func(s *link.Stats) float64 { return float64(s.GotItems) }),
		one(counter, "hints_lost_total", "Deliveries dropped at a full queue; the sessions read the log instead.", func(s *link.Stats) float64 { return float64(s.HintsLost) }),
		one(counter, "whispers_lost_total", "Ephemeral frames, one for each session, dropped at a full queue.", func(s *link.Stats) float64 { return float64(s.WhispersLost) }),
		one(counter, "fetches_failed_total", "Answers to fetches that found no room; the edge asks again.", func(s *link.Stats) float64 { return float64(s.FetchesFailed) }),
		one(counter, "overflows_total", "Sessions closed (engine process) or requests refused (edge process) at a full queue.", func(s *link.Stats) float64 { return float64(s.Overflows) }),
	}
}
