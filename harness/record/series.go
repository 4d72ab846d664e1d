package record

import (
	"fmt"
	"slices"
	"sync"

	"github.com/godwit-im/godwit/harness/result"
)

// Counts are what loops did: since the start of the run in a Shard, during
// the second in a Sample. Sessions is always how many are open.
type Counts struct {
	Scheduled uint64 `json:"scheduled"`
	Sent      uint64 `json:"sent"`
	Stored    uint64 `json:"stored"`
	Delivered uint64 `json:"delivered"`
	Sessions  int    `json:"sessions"`
}

func (c Counts) since(before Counts) Counts {
	return Counts{c.Scheduled - before.Scheduled, c.Sent - before.Sent, c.Stored - before.Stored, c.Delivered - before.Delivered, c.Sessions}
}

func (c Counts) plus(other Counts) Counts {
	return Counts{c.Scheduled + other.Scheduled, c.Sent + other.Sent, c.Stored + other.Stored, c.Delivered + other.Delivered, c.Sessions + other.Sessions}
}

// Sample is one second of one generator process.
type Sample struct {
	Counts Counts `json:"counts"`
	// Main holds the second's values of the main latency: an HdrHistogram, V2,
	// compressed, in base64; "" for none. Some hundred bytes.
	Main string `json:"main"`
}

// seriesMax bounds the rows of a run: a day.
const seriesMax = 24 * 60 * 60

// Series adds up the samples of all generators into rows of the result. Safe
// for concurrent use.
type Series struct {
	mu   sync.Mutex
	rows []*second // by second since the start of the run; nil where nothing came
}

// second keeps histograms encoded: decoded ones would take 190 KiB a row.
type second struct {
	stage  string
	counts Counts
	mains  []string
	rss    float64
	cpu    float64
}

// Add takes a generator's sample of a second (0: the first of the run).
// Generators that disagree about the stage leave the later call's name.
func (s *Series) Add(at int, stage string, sample Sample) error {
	if sample.Main != "" {
		if _, err := decodeHistogram(sample.Main); err != nil {
			return fmt.Errorf("second %d: %w", at, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, err := s.rowLocked(at)
	if err != nil {
		return err
	}
	row.stage = stage
	row.counts = row.counts.plus(sample.Counts)
	if sample.Main != "" {
		row.mains = append(row.mains, sample.Main)
	}
	return nil
}

// AddServer sets what the server used: memory now, CPU since the run's start.
func (s *Series) AddServer(at int, used Usage, startCPUSeconds float64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	row, err := s.rowLocked(at)
	if err != nil {
		return err
	}
	row.rss, row.cpu = used.RSSBytes, max(0, used.CPUSeconds-startCPUSeconds)
	return nil
}

func (s *Series) rowLocked(at int) (*second, error) {
	if at < 0 || at >= seriesMax {
		return nil, fmt.Errorf("second %d: a series has 0…%d", at, seriesMax-1)
	}
	if at >= len(s.rows) {
		s.rows = append(s.rows, make([]*second, at+1-len(s.rows))...)
	}
	if s.rows[at] == nil {
		s.rows[at] = &second{}
	}
	return s.rows[at], nil
}

// Row returns the row of a second as known by now, for the progress line.
func (s *Series) Row(at int) (row result.Second, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at < 0 || at >= len(s.rows) || s.rows[at] == nil {
		return result.Second{}, false
	}
	return s.rows[at].row(at), true
}

// Rows returns all rows. A second of which nobody reported is left out: a gap
// in time says more than zeroes that nobody measured.
func (s *Series) Rows() []result.Second {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []result.Second{}
	for at, row := range s.rows {
		if row != nil {
			rows = append(rows, row.row(at))
		}
	}
	return slices.Clip(rows)
}

func (r *second) row(at int) result.Second {
	d := NewDistribution()
	for _, text := range r.mains {
		h, err := decodeHistogram(text)
		if err != nil {
			panic(fmt.Sprintf("BUG: a histogram that was checked: %v", err))
		}
		d.histogram.Merge(h)
	}
	values := d.ranked(50, 99, 100)
	return result.Second{
		At: float64(at), Stage: r.stage,
		Scheduled: r.counts.Scheduled, Sent: r.counts.Sent, Stored: r.counts.Stored, Delivered: r.counts.Delivered,
		Sessions: r.counts.Sessions,
		P50US:    values[0], P99US: values[1], MaxUS: values[2],
		ServerRSS: r.rss, ServerCPU: r.cpu,
	}
}
