package client

import (
	"math/rand/v2"
	"time"
)

// clock is the time the loop lives in; tests turn it by hand.
type clock interface {
	Now() time.Time
	// Alarm sends once after d; stop frees what it holds.
	Alarm(d time.Duration) (c <-chan time.Time, stop func())
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) Alarm(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

func randomBelow(n int64) int64 { return rand.Int64N(n) }
