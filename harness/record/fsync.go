package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// The probe writes 4 KiB in place and makes it durable, over and over, for as
// many rounds as the time allows; under fsyncRoundsMin a median says nothing.
const (
	fsyncBytes     = 4096
	fsyncRounds    = 200
	fsyncRoundsMin = 20
	fsyncTime      = 3 * time.Second
)

// FsyncProbe returns the median, in microseconds, of overwriting 4 KiB in
// place and fdatasync on the file system of dir: what one durable write costs
// at least there. About 200 rounds, at most about three seconds.
func FsyncProbe(ctx context.Context, dir string) (p50US float64, err error) {
	f, err := os.CreateTemp(dir, ".godwit-fsync-*")
	if err != nil {
		return 0, fmt.Errorf("fsync probe: %w", err)
	}
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}()
	block := make([]byte, fsyncBytes)
	for i := range block {
		block[i] = byte(i * 31) // not zeroes: some devices don't write those
	}
	start := time.Now()
	durable := func(round int) error {
		block[0] = byte(round)
		if _, err := f.WriteAt(block, 0); err != nil {
			return err
		}
		return syncData(f)
	}
	// The first write allocates the block, later ones only overwrite it.
	if err := errors.Join(durable(0), f.Sync()); err != nil {
		return 0, fmt.Errorf("fsync probe: %w", err)
	}
	return probe(ctx, durable, func() time.Duration { return time.Since(start) })
}

// probe times the rounds; now is the time since some start.
func probe(ctx context.Context, durable func(round int) error, now func() time.Duration) (float64, error) {
	var took []time.Duration
	began := now()
	before := began
	for len(took) < fsyncRounds && (len(took) < fsyncRoundsMin || before-began < fsyncTime) {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("fsync probe: %w", err)
		}
		if err := durable(len(took) + 1); err != nil {
			return 0, fmt.Errorf("fsync probe: %w", err)
		}
		after := now()
		took = append(took, after-before)
		before = after
	}
	slices.Sort(took)
	return float64(took[(len(took)-1)/2]) / float64(time.Microsecond), nil
}
