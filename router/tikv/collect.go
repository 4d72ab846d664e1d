package tikv

import (
	"context"
	"fmt"
	"time"

	"github.com/godwit-im/godwit/router"
)

// collectAgeMin is how old a version must at least be to be collected: far older than
// any transaction that may still read it.
const collectAgeMin = time.Minute

// Collect lets TiKV remove what was overwritten or deleted before a time. One node of
// a cluster calls it every ten minutes or so; nobody does where TiDB does. It takes as
// long as ctx allows: it visits every region of TiKV, Godwit's or not.
func (s *Store) Collect(ctx context.Context, before router.Timestamp) error {
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	if age := time.Duration(now.Milliseconds()-before.Milliseconds()) * time.Millisecond; age < collectAgeMin {
		return fmt.Errorf("tikv: collect: versions of %v ago may still be read", age)
	}
	return s.collect(ctx, before)
}

func (s *Store) collect(ctx context.Context, before router.Timestamp) error {
	counter := &s.counters[opCollect]
	started := time.Now()
	defer func() {
		counter.count.Add(1)
		counter.nanoseconds.Add(int64(time.Since(started)))
	}()
	if !s.begin() {
		return errClosed
	}
	defer s.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	client := s.client.Load()
	if client == nil {
		return errRefused
	}
	// PD keeps the latest time that anybody gave it.
	if _, err := client.GC(ctx, uint64(before)); err != nil {
		counter.unavailable.Add(1)
		return fmt.Errorf("tikv: collect: %w: %w", router.ErrUnavailable, err)
	}
	return nil
}
