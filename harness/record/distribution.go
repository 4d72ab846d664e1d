package record

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/godwit-im/godwit/harness/result"
)

// Distribution is a set of latencies in an HdrHistogram of 1 µs … 1 h with
// three digits; sum and maximum are exact. Not safe for concurrent use.
type Distribution struct {
	histogram *hdrhistogram.Histogram // whole microseconds
	sumNS     float64
	maxNS     int64
	clamped   uint64
	early     uint64
}

// NewDistribution returns an empty one.
func NewDistribution() *Distribution {
	return &Distribution{histogram: hdrhistogram.New(latencyLowest, latencyHighest, latencyDigits)}
}

// add counts n values of a counter of the recorder.
func (d *Distribution) add(slot int, n uint64) {
	if n == 0 {
		return
	}
	if err := d.histogram.RecordValues(min(slotLow(slot), latencyHighest), int64(n)); err != nil {
		panic(fmt.Sprintf("BUG: a counter outside of the histogram: %v", err))
	}
}

// Count returns the number of values.
func (d *Distribution) Count() uint64 { return uint64(d.histogram.TotalCount()) }

// Clamped returns how many values were over an hour and count as an hour.
func (d *Distribution) Clamped() uint64 { return d.clamped }

// Early returns how many operations finished before they were due and count
// as 0: a fault of the generator or of clocks that disagree.
func (d *Distribution) Early() uint64 { return d.early }

// Merge adds the values of another distribution.
func (d *Distribution) Merge(other *Distribution) {
	if dropped := d.histogram.Merge(other.histogram); dropped != 0 {
		panic(fmt.Sprintf("BUG: %d values lost between histograms of one range", dropped))
	}
	d.sumNS += other.sumNS
	d.maxNS = max(d.maxNS, other.maxNS)
	d.clamped += other.clamped
	d.early += other.early
}

// ranked returns, for each percentile of an ascending list, the upper bound of
// the counter that holds the value of its nearest rank: at least so many
// percent of the values are not above it. The ranks round up, towards the
// slower value.
func (d *Distribution) ranked(percentiles ...float64) []float64 {
	values := make([]float64, len(percentiles))
	total := d.histogram.TotalCount()
	if total == 0 {
		return values
	}
	next, below := 0, int64(0)
	for _, bar := range d.histogram.Distribution() {
		below += bar.Count
		for next < len(percentiles) && below >= rank(percentiles[next], total) {
			values[next] = float64(bar.To)
			next++
		}
	}
	return values
}

// rank is the nearest rank of a percentile: the least whole number that is at
// least p % of the total. Products like 99.9 % of 1,000 come out a hair above
// the whole number and must not round up to the next one.
func rank(percentile float64, total int64) int64 {
	exact := percentile * float64(total) / 100
	if whole := math.Round(exact); math.Abs(exact-whole) <= 1e-9*exact {
		exact = whole
	}
	return min(max(int64(math.Ceil(exact)), 1), total)
}

// ToLatency returns the figures of the result.
func (d *Distribution) ToLatency() result.Latency {
	l := result.Latency{Count: d.Count(), Buckets: d.buckets()}
	if l.Count == 0 {
		return l
	}
	l.Max = float64(d.maxNS) / 1000
	l.Mean = min(d.sumNS/1000/float64(l.Count), l.Max)
	values := d.ranked(50, 90, 99, 99.9, 99.99)
	for i, to := range []*float64{&l.P50, &l.P90, &l.P99, &l.P999, &l.P9999} {
		*to = min(values[i], l.Max) // a counter may reach beyond the highest value
	}
	return l
}

// bucketsPerOctave of the result: under 1 % wide, some hundreds of buckets
// instead of thousands. Percentiles are taken before.
const bucketsPerOctave = 128

// buckets returns the (upper bound, count) pairs that hold values, ascending.
func (d *Distribution) buckets() [][2]float64 {
	all := [][2]float64{}
	for _, bar := range d.histogram.Distribution() {
		if bar.Count == 0 {
			continue
		}
		upper := float64(bucketUpper(bar.From))
		if n := len(all); n > 0 && all[n-1][0] == upper {
			all[n-1][1] += float64(bar.Count)
		} else {
			all = append(all, [2]float64{upper, float64(bar.Count)})
		}
	}
	return all
}

// bucketUpper returns the highest microsecond of the bucket of a value.
func bucketUpper(us int64) int64 {
	width := int64(1)
	for us >= 2*bucketsPerOctave*width {
		width *= 2
	}
	return us/width*width + width - 1
}

// wireDistribution is a distribution between processes.
type wireDistribution struct {
	Histogram string  `json:"histogram"` // HdrHistogram V2, compressed, in base64
	SumNS     float64 `json:"sum_ns"`
	MaxNS     int64   `json:"max_ns"`
	Clamped   uint64  `json:"clamped,omitempty"`
	Early     uint64  `json:"early,omitempty"`
}

// MarshalJSON makes a distribution travel from an agent to the coordinator.
func (d *Distribution) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireDistribution{d.encoded(), d.sumNS, d.maxNS, d.clamped, d.early})
}

// UnmarshalJSON takes what MarshalJSON made, and refuses another range.
func (d *Distribution) UnmarshalJSON(text []byte) error {
	var wire wireDistribution
	if err := json.Unmarshal(text, &wire); err != nil {
		return err
	}
	histogram, err := decodeHistogram(wire.Histogram)
	if err != nil {
		return err
	}
	if wire.SumNS < 0 || wire.MaxNS < 0 {
		return fmt.Errorf("decode a distribution: a negative sum or maximum")
	}
	*d = Distribution{histogram, wire.SumNS, wire.MaxNS, wire.Clamped, wire.Early}
	return nil
}

func (d *Distribution) encoded() string {
	text, err := d.histogram.EncodeV2()
	if err != nil {
		panic(fmt.Sprintf("BUG: a histogram that can't be encoded: %v", err))
	}
	return string(text)
}

// decodeHistogram refuses histograms of another range: merging them would
// drop or shift values.
func decodeHistogram(text string) (*hdrhistogram.Histogram, error) {
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("decode a histogram: %w", err)
	}
	if h.LowestTrackableValue() != latencyLowest || h.HighestTrackableValue() != latencyHighest || h.SignificantFigures() != latencyDigits {
		return nil, fmt.Errorf("decode a histogram: its range %d…%d with %d digits is not the recorder's", h.LowestTrackableValue(), h.HighestTrackableValue(), h.SignificantFigures())
	}
	return h, nil
}
