package report

import (
	"math"
	"strings"
)

// scaled is an axis with the values at its ends, low < high.
type scaled struct {
	axis
	low, high float64
}

// ranged ranges an axis over every line, widened to something drawable.
func (c *chart) ranged(a axis, value func(point) float64) scaled {
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range c.lines {
		for _, p := range l.points {
			low, high = min(low, value(p)), max(high, value(p))
		}
	}
	if a.write == nil {
		a.write = significant
	}
	switch {
	case a.scale == logarithmic && low > high:
		return scaled{a, 1 / 1.3, 1.3}
	case a.scale == logarithmic:
		return scaled{a, low / 1.3, high * 1.3}
	case a.scale == nines || high <= 0:
		return scaled{a, 0, max(high, 1)}
	}
	return scaled{a, 0, max(high, 1e-6)}
}

// share is where a value stands between the ends, 0…1.
func (s *scaled) share(value float64) float64 {
	if s.scale == logarithmic {
		return math.Log(value/s.low) / math.Log(s.high/s.low)
	}
	return (value - s.low) / (s.high - s.low)
}

// tick is a mark on an axis; one without a label is smaller.
type tick struct {
	value float64
	label string
}

func (t tick) length() float64 {
	if t.label == "" {
		return tickLength / 2
	}
	return tickLength
}

func (s *scaled) ticks(about int) []tick {
	switch s.scale {
	case logarithmic:
		return s.logTicks()
	case nines:
		return s.ninesTicks()
	}
	return s.linearTicks(about)
}

// linearTicks are multiples of 1, 2 or 5 times a power of ten.
func (s *scaled) linearTicks(about int) (ticks []tick) {
	step := math.Pow(10, math.Floor(math.Log10(s.high/float64(about))))
	for _, factor := range []float64{2, 2.5, 2} { // 1 → 2 → 5 → 10
		if s.high/step > float64(about) {
			step *= factor
		}
	}
	for n := 0.0; n*step <= s.high*(1+1e-9); n++ {
		ticks = append(ticks, tick{n * step, s.write(n * step)})
	}
	return ticks
}

// logTicks labels 1, 2 and 5 of each decade of a narrow range, and the decades
// of a wide one.
func (s *scaled) logTicks() (ticks []tick) {
	narrow := math.Log10(s.high/s.low) < 3
	for decade := math.Floor(math.Log10(s.low)); decade <= math.Ceil(math.Log10(s.high)); decade++ {
		for step := 1.0; step < 10; step++ {
			t := tick{value: step * math.Pow(10, decade)}
			if t.value < s.low || t.value > s.high {
				continue
			}
			if step == 1 || narrow && (step == 2 || step == 5) {
				t.label = s.write(t.value)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// ninesTicks labels 0, 90 %, 99 %, 99.9 % …
func (s *scaled) ninesTicks() []tick {
	ticks := []tick{{0, "0"}, {math.Log10(2), "50%"}}
	for n := 1; n <= int(s.high+1e-9); n++ {
		label := "90%"
		if n == 2 {
			label = "99%"
		} else if n > 2 {
			label = "99." + strings.Repeat("9", n-2) + "%"
		}
		ticks = append(ticks, tick{float64(n), label})
	}
	return ticks
}
