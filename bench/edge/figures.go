package main

import (
	"math"
	"slices"
)

// figure is a value that may be missing: null in JSON, and not zero.
type figure *float64

func of(v float64) figure {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	v = round(v)
	return &v
}

// spread is the median of some rounds, and the least and the most of them.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`
}

// spreadOf is nil without values.
func spreadOf(values []float64) *spread {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	n := len(sorted)
	return &spread{Median: round((sorted[(n-1)/2] + sorted[n/2]) / 2), Low: round(sorted[0]), High: round(sorted[n-1]), Rounds: n}
}

func (s *spread) figure() figure {
	if s == nil {
		return nil
	}
	return of(s.Median)
}

// ratios divides round by round; a round without a divisor is left out.
func ratios[T any](a, b []T, f func(T) float64) (out []float64) {
	for i := range min(len(a), len(b)) {
		if d := f(b[i]); d > 0 && f(a[i]) > 0 {
			out = append(out, f(a[i])/d)
		}
	}
	return out
}

func values[T any](a []T, f func(T) float64) (out []float64) {
	for _, v := range a {
		out = append(out, f(v))
	}
	return out
}

// slope is what one connection adds, by least squares; NaN from less than two
// points.
func slope(points []memoryPoint) float64 {
	if len(points) < 2 {
		return math.NaN()
	}
	var meanX, meanY, xy, xx float64
	for _, p := range points {
		meanX += float64(p.Connections) / float64(len(points))
		meanY += float64(p.Resident) / float64(len(points))
	}
	for _, p := range points {
		dx := float64(p.Connections) - meanX
		xy += dx * (float64(p.Resident) - meanY)
		xx += dx * dx
	}
	return xy / xx
}

// bend is the last step's slope over the first's: 1 when memory grows evenly;
// NaN from less than three points.
func bend(points []memoryPoint) float64 {
	if len(points) < 3 {
		return math.NaN()
	}
	n := len(points)
	return slope(points[n-2:]) / slope(points[:2])
}

// over divides; without a divisor there is no ratio, which is 0.
func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// round keeps four significant digits.
func round(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}
