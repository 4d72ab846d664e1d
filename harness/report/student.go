package report

import "math"

// incompleteBeta is the regularized incomplete beta function I_x(a, b), by the
// continued fraction of DLMF 8.17.22 evaluated with Lentz's method.
func incompleteBeta(a, b, x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // the fraction converges fast on the other side
		return 1 - incompleteBeta(b, a, 1-x)
	}
	const tiny = 1e-300 // instead of a zero, which Lentz's method can't divide by
	nonzero := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/nonzero(1-(a+b)/(a+1)*x)
	fraction := d
	for m := 1.0; m <= 500; m++ {
		before := fraction
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/nonzero(1+even*d), nonzero(1+even/c)
		fraction *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/nonzero(1+odd*d), nonzero(1+odd/c)
		fraction *= d * c
		if math.Abs(fraction-before) <= 1e-14*math.Abs(fraction) {
			break
		}
	}
	logA, _ := math.Lgamma(a)
	logB, _ := math.Lgamma(b)
	logAB, _ := math.Lgamma(a + b)
	return math.Exp(a*math.Log(x)+b*math.Log1p(-x)+logAB-logA-logB) * fraction / a
}

// tQuantile is the t for which a share of confidence of Student's distribution
// with that many degrees of freedom lies within ±t.
func tQuantile(confidence, freedom float64) float64 {
	outside := func(t float64) float64 { return incompleteBeta(freedom/2, 0.5, freedom/(freedom+t*t)) }
	low, high := 0.0, 1.0
	for outside(high) > 1-confidence && high < 1e9 {
		high *= 2
	}
	for range 100 {
		if middle := (low + high) / 2; outside(middle) > 1-confidence {
			low = middle
		} else {
			high = middle
		}
	}
	return (low + high) / 2
}
