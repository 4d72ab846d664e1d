package router

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

type lockKind uint8

const (
	placementLock lockKind = iota
	collectionLock
)

// Lock is a lock of the cluster with a fencing token: whatever is written under it
// is written only while no larger token was given. It is not held by time; another
// may take it when its beat stood still for DeadAfter.
type Lock struct {
	d     *Directory
	kind  lockKind
	owner string
	token uint64
}

// Token is larger than those of all who had the lock before.
func (l *Lock) Token() uint64 { return l.token }

// Placement tries to take the placement lock; ErrLocked: another has it and beats,
// or was not watched for long enough yet: ask again each BeatEvery.
func (d *Directory) Placement(ctx context.Context, owner string) (*Lock, error) {
	return d.take(ctx, placementLock, owner)
}

func (d *Directory) lockKey(kind lockKind) []byte {
	if kind == placementLock {
		return d.keys.lock()
	}
	return d.keys.collection()
}

// lockSight is what this process saw of a lock that another has.
type lockSight struct {
	value lockValue
	since time.Duration
}

type lockWatch struct {
	mu   sync.Mutex
	seen map[lockKind]lockSight
}

// stale says whether a lock's beat stood still for long, by our monotonic clock.
func (w *lockWatch) stale(kind lockKind, v lockValue, now, deadAfter time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.seen[kind]; ok && old.value == v {
		return now-old.since >= deadAfter
	}
	if w.seen == nil {
		w.seen = map[lockKind]lockSight{}
	}
	w.seen[kind] = lockSight{v, now}
	return false
}

func (d *Directory) take(ctx context.Context, kind lockKind, owner string) (*Lock, error) {
	if err := checkName(owner); err != nil {
		return nil, err
	}
	var token uint64
	err := d.update(ctx, func(tx Tx) error {
		v, err := readLock(tx, d.lockKey(kind))
		if err != nil {
			return err
		}
		// One's own is taken anew: this process began again.
		if v.Owner != "" && v.Owner != owner && !d.locks.stale(kind, v, d.cfg.Monotonic(), d.cfg.DeadAfter) {
			return fmt.Errorf("%w: %s", ErrLocked, v.Owner)
		}
		token = v.Token + 1
		next := lockValue{Token: token, Owner: owner}
		return tx.Set(d.lockKey(kind), next.appendTo(nil))
	})
	if err != nil {
		return nil, fmt.Errorf("take a lock: %w", err)
	}
	return &Lock{d: d, kind: kind, owner: owner, token: token}, nil
}

func readLock(tx Tx, key []byte) (lockValue, error) {
	value, err := tx.Get(key)
	if err != nil || value == nil {
		return lockValue{}, err
	}
	return parseLock(value)
}

// check makes a transaction fail if the lock is not ours, or is taken before it
// commits.
func (l *Lock) check(tx Tx) error {
	key := l.d.lockKey(l.kind)
	v, err := readLock(tx, key)
	switch {
	case err != nil:
		return err
	case v.Token != l.token || v.Owner != l.owner:
		return ErrFenced
	}
	return tx.Lock(key)
}

// Beat keeps the lock from being taken for another DeadAfter.
func (l *Lock) Beat(ctx context.Context) error {
	return l.write(ctx, func(v *lockValue) { v.Beat++ })
}

// Release gives the lock up.
func (l *Lock) Release(ctx context.Context) error {
	err := l.write(ctx, func(v *lockValue) { v.Owner = "" })
	if errors.Is(err, ErrFenced) {
		return nil // given up by an attempt before, or taken by another
	}
	return err
}

func (l *Lock) write(ctx context.Context, change func(v *lockValue)) error {
	return l.d.update(ctx, func(tx Tx) error {
		key := l.d.lockKey(l.kind)
		v, err := readLock(tx, key)
		switch {
		case err != nil:
			return err
		case v.Token != l.token || v.Owner != l.owner:
			return ErrFenced
		}
		change(&v)
		return tx.Set(key, v.appendTo(nil))
	})
}
