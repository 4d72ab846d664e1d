package groups

import (
	"fmt"
	"math"
	"slices"
)

// Format names the result file and its version.
const Format = "godwit-bench-groups/v1"

// Result is what a run leaves behind. Times are in the unit of their name.
type Result struct {
	Format  string `json:"format"`
	Command string `json:"command"`
	Commit  string `json:"commit"`
	Started string `json:"started"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Rounds  int    `json:"rounds"`
	Online  int    `json:"online"` // sessions, of the users with the lowest numbers
	// Groups by size, ascending; Channel last, if there is one.
	Groups  []Cell `json:"groups"`
	Channel *Cell  `json:"channel,omitempty"`
	// Slope is how much more or less a delivery costs in the largest group than in
	// the smallest of at least 100 members, as a share: 0 is flat.
	Slope float64 `json:"slope"`
	// SlopeAll is the same from the smallest group on, where the message itself is
	// shared by few deliveries.
	SlopeAll float64 `json:"slope_all"`
}

// Cell is one size of group.
type Cell struct {
	Members    int     `json:"members"`
	Online     int     `json:"online"`
	Messages   int     `json:"messages"`   // of all rounds
	Deliveries int     `json:"deliveries"` // to sessions
	Lost       int     `json:"lost"`       // deliveries that did not come in time
	Repeated   int     `json:"repeated"`
	Entries    float64 `json:"entries_per_message"`
	Bytes      float64 `json:"bytes_per_member_message"` // on disk; 0: not measured
	// CPUPerDelivery is the server's, µs, one figure a round; CPU is their median.
	CPUPerDelivery []float64 `json:"cpu_us_per_delivery_rounds"`
	CPU            float64   `json:"cpu_us_per_delivery"`
	CPUPerMessage  float64   `json:"cpu_us_per_message"`
	PerSecond      float64   `json:"deliveries_per_s"` // of the fastest round
	P50            float64   `json:"p50_ms"`           // send → delivered, at a pace
	P99            float64   `json:"p99_ms"`
	// PacedCPU is the server's per delivery at that pace, µs: hardly anything is
	// batched, each delivery is a write of its own and a message a commit of its own.
	PacedCPU float64 `json:"cpu_us_per_delivery_paced"`
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// quantile of sorted values, by the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// finish computes what follows from the cells.
func (r *Result) finish() {
	for i := range r.Groups {
		r.Groups[i].finish()
	}
	if r.Channel != nil {
		r.Channel.finish()
	}
	r.Slope, r.SlopeAll = slope(r.Groups, 100), slope(r.Groups, 0)
}

func (c *Cell) finish() {
	c.CPU = median(c.CPUPerDelivery)
	if c.Messages > 0 {
		c.CPUPerMessage = c.CPU * float64(c.Deliveries) / float64(c.Messages)
	}
}

// slope compares the largest group with the smallest of at least so many members.
func slope(cells []Cell, least int) float64 {
	i := slices.IndexFunc(cells, func(c Cell) bool { return c.Members >= least })
	if i < 0 || cells[i].CPU == 0 {
		return 0
	}
	return cells[len(cells)-1].CPU/cells[i].CPU - 1
}

// Table is the result for people.
func (r *Result) Table() string {
	out := fmt.Sprintf("%10s %8s %10s %9s %9s %9s %8s %8s %9s %9s\n",
		"members", "online", "entries/m", "B/member", "µs/deliv", "µs/msg", "p50 ms", "p99 ms", "deliv/s", "µs paced")
	cells := r.Groups
	if r.Channel != nil {
		cells = append(slices.Clone(cells), *r.Channel)
	}
	for i, c := range cells {
		name := fmt.Sprint(c.Members)
		if i == len(r.Groups) {
			name = "ch " + name
		}
		out += fmt.Sprintf("%10s %8d %10.1f %9.1f %9.2f %9.0f %8.2f %8.2f %9.0f %9.2f\n",
			name, c.Online, c.Entries, c.Bytes, c.CPU, c.CPUPerMessage, c.P50, c.P99, c.PerSecond, c.PacedCPU)
	}
	return out + fmt.Sprintf("cost of a delivery, largest against 100 members: %+.0f %%; against the smallest group: %+.0f %%\n", 100*r.Slope, 100*r.SlopeAll)
}
