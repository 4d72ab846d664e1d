package record

import "fmt"

// Line is the straight line y = Intercept + Slope·x that fits points best.
type Line struct {
	Slope     float64
	Intercept float64
	R2        float64 // share of the variance of y that the line explains, 0…1
}

// Regression fits a line by least squares. Bytes per connection are the slope
// of RSS over open sessions: unlike one difference it is free of what the
// server holds anyway, and R2 says how straight the line was.
func Regression(x, y []float64) (Line, error) {
	if len(x) != len(y) {
		return Line{}, fmt.Errorf("regression: %d values of x, %d of y", len(x), len(y))
	}
	if len(x) < 3 {
		return Line{}, fmt.Errorf("regression: %d points; two always fit a line and prove nothing", len(x))
	}
	n := float64(len(x))
	var meanX, meanY float64
	for i := range x {
		meanX += x[i]
		meanY += y[i]
	}
	meanX, meanY = meanX/n, meanY/n
	var xx, xy, yy float64 // sums of products of deviations: no cancellation of large sums
	for i := range x {
		dx, dy := x[i]-meanX, y[i]-meanY
		xx += dx * dx
		xy += dx * dy
		yy += dy * dy
	}
	if xx == 0 {
		return Line{}, fmt.Errorf("regression: every x is %v", meanX)
	}
	line := Line{Slope: xy / xx, Intercept: meanY - xy/xx*meanX, R2: 1}
	if yy > 1e-24*n*meanY*meanY { // less is rounding: a flat line fits wholly
		line.R2 = min(xy*xy/(xx*yy), 1)
	}
	return line, nil
}
