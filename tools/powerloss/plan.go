package main

import (
	"math/rand/v2"
	"time"
)

// cutAfter is what the time until the power fails is counted from.
type cutAfter int

const (
	cutAfterStart cutAfter = iota // of the child: recovery is hit
	cutAfterReady                 // proposers run
	cutAfterClose                 // it was asked to close
)

func (c cutAfter) String() string { return [...]string{"start", "ready", "close"}[c] }

// What FS_IOC_SHUTDOWN does with the journal of the file system.
const (
	shutdownLogFlush   = 1 // metadata is written, data is not
	shutdownNoLogFlush = 2
)

// lifePlan is how one life ends.
type lifePlan struct {
	after cutAfter
	run   time.Duration // cutAfterClose: from ready to the request to close
	delay time.Duration // then the power fails
	flags uint32
	// stir writes back some of what is not synced before the power fails: disks
	// write in any order.
	stir bool
}

// roundPlan is a fresh file system and the lives on it.
type roundPlan struct {
	seed       uint64
	filesystem string
	groups     int
	memtable   int64
	wal        int64
	lives      []lifePlan
}

const (
	livesMin = 3
	livesMax = 6
)

// planRound derives everything that is decided ahead from seed and number.
func planRound(seed uint64, number int, filesystem string) roundPlan {
	rng := rand.New(rand.NewPCG(seed, uint64(number)))
	p := roundPlan{
		seed: rng.Uint64(), filesystem: filesystem,
		groups:   1 << rng.IntN(4),
		memtable: (1 + rng.Int64N(3)) << 19,
		wal:      (1 + rng.Int64N(3)) * 3 << 20,
	}
	for range livesMin + rng.IntN(livesMax-livesMin+1) {
		p.lives = append(p.lives, planLife(rng))
	}
	return p
}

func planLife(rng *rand.Rand) lifePlan {
	l := lifePlan{flags: shutdownNoLogFlush, stir: rng.IntN(2) == 0}
	if rng.IntN(4) == 0 {
		l.flags = shutdownLogFlush
	}
	switch n := rng.IntN(10); {
	case n < 2:
		l.after, l.delay = cutAfterStart, between(rng, 0, 500*time.Millisecond)
	case n < 9:
		l.after, l.delay = cutAfterReady, between(rng, 0, 2500*time.Millisecond)
	default:
		l.after, l.run, l.delay = cutAfterClose, between(rng, 0, time.Second), between(rng, 0, 60*time.Millisecond)
	}
	return l
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}
