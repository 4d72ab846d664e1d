package client

import (
	"math/rand/v2"
	"time"
)

// clock is the time the loop lives in; tests turn it by hand.
type clock interface {
	Now() time.Time
	// Alarm sends once when at has come; stop frees what it holds.
	Alarm(at time.Time) (c <-chan time.Time, stop func())
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) Alarm(at time.Time) (<-chan time.Time, func()) {
	t := time.NewTimer(time.Until(at))
	return t.C, func() { t.Stop() }
}

func randomBelow(n int64) int64 { return rand.Int64N(n) }
