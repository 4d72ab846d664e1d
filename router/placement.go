package router

import (
	"context"
	"errors"
	"fmt"
)

// Group is one raft group and the nodes that should hold it.
type Group struct {
	ID       uint16
	Replicas []string // names of nodes, at least one
}

// Map says which group has a partition, and which nodes should hold a group. Who
// leads a group is raft's alone.
type Map struct {
	Version    uint64 // one more with every change; 0: none was written yet
	Groups     []Group
	Partitions [Partitions]uint16 // index → ID of a group
}

func (m *Map) validate() error {
	if len(m.Groups) == 0 || len(m.Groups) > groupsMax {
		return fmt.Errorf("router: a map has 1 to %d groups, not %d", groupsMax, len(m.Groups))
	}
	ids := map[uint16]bool{}
	for _, g := range m.Groups {
		if ids[g.ID] {
			return fmt.Errorf("router: group %d is there twice", g.ID)
		}
		ids[g.ID] = true
		if len(g.Replicas) == 0 || len(g.Replicas) > replicasMax {
			return fmt.Errorf("router: group %d has %d replicas, not 1 to %d", g.ID, len(g.Replicas), replicasMax)
		}
		for _, name := range g.Replicas {
			if err := checkName(name); err != nil {
				return err
			}
		}
	}
	for i, id := range m.Partitions {
		if !ids[id] {
			return fmt.Errorf("router: partition %d is in group %d, which is not in the map", i, id)
		}
	}
	return nil
}

// Map reads the map; Version is 0 if there is none.
func (d *Directory) Map(ctx context.Context) (*Map, error) {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	value, err := d.cfg.Store.Get(ctx, d.keys.placement())
	if err != nil {
		return nil, fmt.Errorf("read the map: %w", err)
	}
	if value == nil {
		return &Map{}, nil
	}
	return parseMap(value)
}

// MapVersion reads the version only: what a watcher asks often.
func (d *Directory) MapVersion(ctx context.Context) (uint64, error) {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	value, err := d.cfg.Store.Get(ctx, d.keys.version())
	if err != nil {
		return 0, fmt.Errorf("read the version of the map: %w", err)
	}
	return parseNumber(value)
}

// PutMap replaces the map of the version that m.Version names, under the placement
// lock, and sets m.Version to the new one. ErrFenced: the lock was taken by another;
// ErrVersion: the map is another. An attempt that took effect without it being known
// is found again by its token.
func (d *Directory) PutMap(ctx context.Context, lock *Lock, m *Map) error {
	if lock.kind != placementLock {
		return errors.New("router: the map needs the placement lock")
	}
	if err := m.validate(); err != nil {
		return err
	}
	next := *m
	next.Version++
	value := next.appendTo(nil)
	err := d.update(ctx, func(tx Tx) error {
		if err := lock.check(tx); err != nil {
			return err
		}
		values, err := tx.BatchGet([][]byte{d.keys.version(), d.keys.placement()})
		if err != nil {
			return err
		}
		switch version, err := parseNumber(values[0]); {
		case err != nil:
			return err
		case version == next.Version && string(values[1]) == string(value):
			return nil // ours, from an attempt whose outcome was not known
		case version != m.Version:
			return fmt.Errorf("%w: it has version %d, not %d", ErrVersion, version, m.Version)
		}
		if err := tx.Set(d.keys.placement(), value); err != nil {
			return err
		}
		return tx.Set(d.keys.version(), appendNumber(nil, next.Version))
	})
	if err != nil {
		return fmt.Errorf("write the map: %w", err)
	}
	m.Version = next.Version
	return nil
}
