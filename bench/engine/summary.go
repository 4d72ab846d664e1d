package main

import (
	"math"
	"slices"
)

// summary is the line for scripts: its names are fixed. Times are µs; a ratio
// is the engine's figure over Pebble's, of medians over the rounds.
type summary struct {
	Filesystem              string   `json:"filesystem"`
	FsyncP50                float64  `json:"fsync_p50_us"`
	ThroughRaft             bool     `json:"through_raft"`
	Compression             bool     `json:"compression"`
	Messages                uint64   `json:"messages"` // the engine's, rounds and fill
	Rounds                  int      `json:"rounds"`
	Pebble64                float64  `json:"pebble_64_per_s"`
	Pebble1024              float64  `json:"pebble_1024_per_s"`
	Ratio64                 float64  `json:"ratio_vs_pebble_64"`
	Ratio1024               float64  `json:"ratio_vs_pebble_1024"`
	P50Ratio64              float64  `json:"p50_vs_pebble_64"`
	P99Ratio64              float64  `json:"p99_vs_pebble_64"`
	CPURatio                float64  `json:"cpu_vs_pebble"` // of all work, flush and compaction included, without the harness
	WriteAmplification      float64  `json:"write_amplification"`
	WriteAmplificationRatio float64  `json:"write_amplification_vs_pebble"`
	DiskPerMessage          float64  `json:"disk_bytes_per_message"`
	PageWarm                float64  `json:"page_warm_us"`
	PageCold                float64  `json:"page_cold_us"`
	PageColdRatio           float64  `json:"page_cold_vs_pebble"`
	BytesPerUser            *float64 `json:"bytes_per_user,omitempty"` // full runs only, as the rest
	ReopenPerGB             *float64 `json:"reopen_s_per_gb,omitempty"`
	Full                    bool     `json:"full,omitempty"`
}

// The numbers of appenders that the summary speaks of.
const (
	manyAppenders = 64
	mostAppenders = 1024
)

func summarize(r *runner) summary {
	ours, pebble := r.stores[0], r.stores[1]
	ratio := func(appenders int, f func(loadResult) float64) float64 {
		return over(ours.median(appenders, f), pebble.median(appenders, f))
	}
	p50 := func(l loadResult) float64 { return l.P50 }
	p99 := func(l loadResult) float64 { return l.P99 }
	s := summary{
		Filesystem:              r.filesystem,
		FsyncP50:                round(float64(r.syncP50.Nanoseconds()) / 1e3),
		ThroughRaft:             true,
		Compression:             ours.compressed && pebble.compressed,
		Messages:                ours.acknowledged(),
		Rounds:                  len(ours.rounds[manyAppenders]),
		Pebble64:                round(pebble.median(manyAppenders, loadResult.perSecond)),
		Pebble1024:              round(pebble.median(mostAppenders, loadResult.perSecond)),
		Ratio64:                 ratio(manyAppenders, loadResult.perSecond),
		Ratio1024:               ratio(mostAppenders, loadResult.perSecond),
		P50Ratio64:              ratio(manyAppenders, p50),
		P99Ratio64:              ratio(manyAppenders, p99),
		CPURatio:                over(r.allCPU(ours), r.allCPU(pebble)),
		WriteAmplification:      round(ours.writeAmplification()),
		WriteAmplificationRatio: over(ours.writeAmplification(), pebble.writeAmplification()),
		DiskPerMessage:          round(ours.diskPerMessage()),
		PageWarm:                round(ours.warmPage.P50),
		PageCold:                round(ours.coldPage.P50),
		PageColdRatio:           over(ours.coldPage.P50, pebble.coldPage.P50),
	}
	if r.full {
		perUser, reopen := round(r.large.bytesPerUser(r.plan.large.firstUsers)), round(r.large.reopenPerGB())
		s.BytesPerUser, s.ReopenPerGB, s.Full = &perUser, &reopen, true
	}
	return s
}

// median over the rounds; 0 if there are none.
func (s *storeRun) median(appenders int, f func(loadResult) float64) float64 {
	var values []float64
	for _, l := range s.rounds[appenders] {
		values = append(values, f(l))
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// acknowledged is all that the store acknowledged, in rounds and fill.
func (s *storeRun) acknowledged() uint64 {
	n := s.fill.Count
	for _, rounds := range s.rounds {
		for _, l := range rounds {
			n += l.Count
		}
	}
	return n
}

// netCPU is µs per message without what the harness costs.
func (r *runner) netCPU(s *storeRun, appenders int) float64 {
	cpu := s.median(appenders, func(l loadResult) float64 { return l.CPU })
	return max(cpu-r.harness[appenders].CPU, 0)
}

// allCPU is µs per message from the opening of the store until it had settled
// after the fill, without what the harness costs.
func (r *runner) allCPU(s *storeRun) float64 {
	if s.messages == 0 {
		return 0
	}
	cpu := float64(s.cpu.Microseconds())
	for i := range s.phases {
		cpu -= r.harness[s.phases[i].Appenders].CPU * float64(s.phases[i].Count)
	}
	return max(cpu, 0) / float64(s.messages)
}

// writeAmplification is what the process gave to the disk per byte of text.
func (s *storeRun) writeAmplification() float64 {
	return over(float64(s.written.WriteBytes), float64(s.messages*messageBytes))
}

func (s *storeRun) diskPerMessage() float64 {
	return over(float64(s.disk.data(s.messages)), float64(s.messages))
}

// over divides; without a divisor there is no ratio, which is 0.
func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return round(a / b)
}

// round keeps four significant digits.
func round(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}
