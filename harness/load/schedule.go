package load

import (
	"math/rand/v2"
	"time"

	"github.com/godwit-im/godwit/harness/scenario"
)

// arrival is one operation that is due: when, counted from the start of the
// traffic, and whose.
type arrival struct {
	at    time.Duration
	actor uint32
}

// planArrivals decides every arrival before the first: rate a second over length,
// shared among actors by chance. What the server does later changes none of it.
func planArrivals(kind string, rate float64, length time.Duration, actors int, seed uint64) []arrival {
	rng := rand.New(rand.NewPCG(seed, 0x676f64776974))
	mean := float64(time.Second) / rate
	plan := make([]arrival, 0, int(rate*length.Seconds()*1.1)+16)
	at := mean
	if kind == scenario.ArrivalsPoisson {
		at = rng.ExpFloat64() * mean
	}
	for n := 1; at < float64(length); n++ {
		plan = append(plan, arrival{time.Duration(at), uint32(rng.IntN(actors))})
		if kind == scenario.ArrivalsPoisson {
			at += rng.ExpFloat64() * mean
		} else {
			at = float64(n+1) * mean // no sum: rounding must not add up
		}
	}
	return plan
}
