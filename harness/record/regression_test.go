package record

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestRegressionFindsThePlantedLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slope := float64(rapid.IntRange(-5000, 5000).Draw(t, "slope"))
		intercept := float64(rapid.IntRange(0, 1<<30).Draw(t, "intercept"))
		var x, y []float64
		for i := range rapid.IntRange(3, 50).Draw(t, "points") {
			x = append(x, float64(i*400))
			y = append(y, intercept+slope*float64(i*400))
		}
		line, err := Regression(x, y)
		if err != nil || math.Abs(line.Slope-slope) > 1e-5 || math.Abs(line.Intercept-intercept) > 1e-2 || line.R2 < 0.999999 {
			t.Fatalf("%+v, %v; want %v + %v x", line, err, intercept, slope)
		}
	})
}

func TestRegressionOfKnownPoints(t *testing.T) {
	// Worked by hand: means 3 and 4, Sxx 10, Sxy 6, Syy 6.
	line, err := Regression([]float64{1, 2, 3, 4, 5}, []float64{2, 4, 5, 4, 5})
	if err != nil || math.Abs(line.Slope-0.6) > 1e-12 || math.Abs(line.Intercept-2.2) > 1e-12 || math.Abs(line.R2-0.6) > 1e-12 {
		t.Errorf("%+v, %v", line, err)
	}
	// Steps do not average to a line: R² says so.
	if line, err := Regression([]float64{0, 1, 2, 3}, []float64{0, 9, 0, 9}); err != nil || line.R2 > 0.25 {
		t.Errorf("a zigzag: %+v, %v", line, err)
	}
	if line, err := Regression([]float64{0, 1, 2}, []float64{5, 5, 5}); err != nil || line != (Line{Intercept: 5, R2: 1}) {
		t.Errorf("a flat line: %+v, %v", line, err)
	}
}

func TestRegressionNeedsThreePointsApart(t *testing.T) {
	for _, points := range [][2][]float64{{{1, 2}, {1, 2}}, {{1, 2, 3}, {1, 2}}, {{4, 4, 4}, {1, 2, 3}}, {nil, nil}} {
		if line, err := Regression(points[0], points[1]); err == nil {
			t.Errorf("%v gave %+v", points, line)
		}
	}
}
