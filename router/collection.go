package router

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Collector is a Store that has old versions to drop. Its transactions are all
// younger than before.
type Collector interface {
	Collect(ctx context.Context, before Timestamp) error
}

// collectEvery is how often old versions are dropped, and collectKept how old they
// are: longer than any transaction.
const (
	collectEvery = 10 * time.Minute
	collectKept  = 10 * time.Minute
)

// Collect is one round of the cluster's housekeeping under the collection lock: it
// forgets edges and nodes that have been dead for long, and drops old versions if
// the store has any.
func (d *Directory) Collect(ctx context.Context, lock *Lock) error {
	if lock.kind != collectionLock {
		return errors.New("router: collecting needs the collection lock")
	}
	now, err := d.Now(ctx)
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	view := d.View()
	for _, peers := range [][]Peer{view.Edges, view.Nodes} {
		for i := range peers {
			age := time.Duration(now.Milliseconds()-peers[i].At.Milliseconds()) * time.Millisecond
			if peers[i].Verdict != Dead || peers[i].Epoch == 0 || age < d.cfg.ForgetAfter {
				continue
			}
			if err := d.forget(ctx, lock, &peers[i]); err != nil {
				return fmt.Errorf("forget %s: %w", peers[i].Name, err)
			}
		}
	}
	c, ok := d.cfg.Store.(Collector)
	if !ok {
		return nil
	}
	if err := lock.Beat(ctx); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	if err := c.Collect(ctx, TimestampOf(now.Milliseconds()-collectKept.Milliseconds())); err != nil {
		return fmt.Errorf("collect old versions: %w", err)
	}
	return nil
}

// forget deletes the lease of a member that has not beaten since it was looked at.
func (d *Directory) forget(ctx context.Context, lock *Lock, p *Peer) error {
	return d.update(ctx, func(tx Tx) error {
		if err := lock.check(tx); err != nil {
			return err
		}
		key := d.keys.node(p.Name)
		if p.Number != 0 {
			key = d.keys.lease(p.Number)
		}
		value, err := tx.Get(key)
		if err != nil || value == nil {
			return err
		}
		l, err := parseLease(value)
		if err != nil || l.Epoch != p.Epoch || l.Beat != p.beat {
			return err
		}
		if p.Number != 0 {
			if err := tx.Delete(d.keys.number(p.Name)); err != nil {
				return err
			}
		}
		return tx.Delete(key)
	})
}

// Collection tries to take the collection lock; as Placement otherwise.
func (d *Directory) Collection(ctx context.Context, owner string) (*Lock, error) {
	return d.take(ctx, collectionLock, owner)
}

// RunCollection collects while this process has the collection lock, and tries to
// have it, until ctx ends. Never on a store whose old versions others drop.
func (d *Directory) RunCollection(ctx context.Context, owner string) {
	tick := time.NewTicker(d.cfg.BeatEvery)
	defer tick.Stop()
	var lock *Lock
	last := d.cfg.Monotonic()
	for {
		var err error
		if lock == nil {
			lock, err = d.Collection(ctx, owner)
		} else if err = lock.Beat(ctx); errors.Is(err, ErrFenced) {
			lock = nil
		}
		if now := d.cfg.Monotonic(); lock != nil && err == nil && now-last >= collectEvery {
			last = now
			err = d.Collect(ctx, lock)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrLocked) {
			d.cfg.Logger.Warn("collection in the directory", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if lock != nil {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Timeout)
				_ = lock.Release(ctx) // it moves by its beat otherwise
				cancel()
			}
			return
		}
	}
}
