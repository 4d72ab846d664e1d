package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Route is one connection of one device.
type Route struct {
	Device string
	Edge   uint32 // number of the edge
	Epoch  uint64 // of the edge: a larger one means that this connection has ended
	Conn   uint64 // the edge's name for the connection, unique within the epoch
	Stamp  Timestamp
}

// same says whether a and b are one connection.
func (r *Route) same(o *Route) bool {
	return r.Edge == o.Edge && r.Epoch == o.Epoch && r.Conn == o.Conn && r.Device == o.Device
}

// Whereabouts is what the directory says of a user.
type Whereabouts struct {
	Routes     []Route // of edges that are alive or suspect, the newest first
	LastSeenMS int64   // ms since the Unix epoch; 0: never. What Routes has is not counted
}

// UserMax bounds a user's name in bytes, DeviceMax a device's.
const (
	UserMax   = 255
	DeviceMax = textMax
)

func checkUser(user string) error {
	if user == "" || len(user) > UserMax {
		return fmt.Errorf("router: user %q must have 1 to %d bytes", user, UserMax)
	}
	return nil
}

func (c *change) validate() error {
	if r := &c.route; len(r.Device) > DeviceMax || r.Edge == 0 || r.Epoch == 0 {
		return errors.New("router: a route needs an edge that has claimed its lease, and no longer a device than DeviceMax")
	}
	return checkUser(c.user)
}

// Register makes r the route of its device, unless a later stamp stands (ErrNewer).
func (d *Directory) Register(ctx context.Context, user string, r Route) error {
	changes := []change{{user: user, route: r}}
	if err := d.apply(ctx, changes); err != nil {
		return fmt.Errorf("register a route: %w", err)
	}
	if changes[0].refused {
		return ErrNewer
	}
	return nil
}

// Unregister removes exactly the connection r, and notes when.
func (d *Directory) Unregister(ctx context.Context, user string, r Route) error {
	if err := d.apply(ctx, []change{{user: user, route: r, remove: true}}); err != nil {
		return fmt.Errorf("unregister a route: %w", err)
	}
	return nil
}

// Forget removes what is known of a user whose account was erased. Connections that
// he had are remembered for a minute, without a time, so that their ends, told late,
// do not make him seen again: his key stays then, and goes by a second Forget.
func (d *Directory) Forget(ctx context.Context, user string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	key := d.keys.routes(user)
	err := d.update(ctx, func(tx Tx) error {
		value, err := tx.Get(key)
		if err != nil || value == nil {
			return err
		}
		r, err := parseRoutes(value)
		if err != nil {
			d.stats.malformed.Add(1)
			return tx.Delete(key)
		}
		r.forget(tx.Timestamp())
		if len(r.Entries) == 0 {
			return tx.Delete(key)
		}
		return tx.Set(key, r.appendTo(nil))
	})
	if err != nil {
		return fmt.Errorf("forget a user: %w", err)
	}
	return nil
}

// change is one thing to do to a user's routes. refused is set by apply.
type change struct {
	user            string
	route           Route
	remove, refused bool
}

// apply makes all changes in one transaction.
func (d *Directory) apply(ctx context.Context, changes []change) error {
	for i := range changes {
		if err := changes[i].validate(); err != nil {
			return err
		}
	}
	return d.update(ctx, func(tx Tx) error { return d.applyOnce(tx, changes) })
}

// applyOnce reads what there is, once for a user, changes it and writes what became
// different. A change that is already there writes nothing: so an attempt whose
// outcome was not known may be made again.
func (d *Directory) applyOnce(tx Tx, changes []change) error {
	var keys [][]byte
	at := make(map[string]int, len(changes))
	for i := range changes {
		if _, ok := at[changes[i].user]; !ok {
			at[changes[i].user] = len(keys)
			keys = append(keys, d.keys.routes(changes[i].user))
		}
	}
	values, err := tx.BatchGet(keys)
	if err != nil {
		return err
	}
	all := make([]routes, len(keys))
	dirty := make([]bool, len(keys))
	for i, value := range values {
		if value == nil {
			continue
		}
		if all[i], err = parseRoutes(value); err != nil {
			d.stats.malformed.Add(1) // a hint that can't be read is none
			all[i] = routes{}
		}
	}
	view, now := d.View(), tx.Timestamp()
	for i := range changes {
		c, n := &changes[i], at[changes[i].user]
		if c.remove {
			dirty[n] = all[n].remove(&c.route, now) || dirty[n]
			continue
		}
		var changed bool
		changed, c.refused = all[n].put(c.route, view, now)
		dirty[n] = dirty[n] || changed
	}
	for i := range keys {
		if !dirty[i] {
			continue
		}
		all[i].trim(now)
		if err := tx.Set(keys[i], all[i].appendTo(nil)); err != nil {
			return err
		}
	}
	return nil
}

// put makes r its device's route. Routes of edges that ended become memories first.
func (r *routes) put(add Route, view *View, now Timestamp) (changed, refused bool) {
	r.bury(view, now)
	i := slices.IndexFunc(r.Entries, func(e entry) bool { return e.Device == add.Device })
	if i < 0 {
		r.Entries = append(r.Entries, entry{Route: add})
		return true, false
	}
	e := &r.Entries[i]
	switch {
	case e.remembered(now) && e.same(&add):
		return false, true // it ended; a late register does not bring it back
	case e.Stamp > add.Stamp && (e.Removed == 0 || e.remembered(now)):
		return false, true
	case e.Removed == 0 && e.Route == add:
		return false, false
	}
	*e = entry{Route: add}
	return true, false
}

// remembered says that a removed entry's stamp still counts.
func (e *entry) remembered(now Timestamp) bool {
	return e.Removed != 0 && now.Milliseconds()-e.Removed.Milliseconds() < stampKeptMS
}

// bury makes memories of the routes whose edge ended.
func (r *routes) bury(view *View, now Timestamp) {
	for i := range r.Entries {
		e := &r.Entries[i]
		if e.Removed != 0 {
			continue
		}
		if at, ended := view.ended(e.Edge, e.Epoch); ended {
			e.Removed = now
			r.LastSeen = max(r.LastSeen, max(at, e.Stamp).Milliseconds())
		}
	}
}

// remove makes a memory of exactly one connection. One that is not there may have
// been registered by a commit that is still under way: the value is written all the
// same, so that such a commit fails.
func (r *routes) remove(gone *Route, now Timestamp) (changed bool) {
	i := slices.IndexFunc(r.Entries, func(e entry) bool { return e.Device == gone.Device })
	if i < 0 {
		r.Entries = append(r.Entries, entry{Route: *gone, Removed: now})
		r.LastSeen = max(r.LastSeen, now.Milliseconds())
		return true
	}
	e := &r.Entries[i]
	if !e.same(gone) {
		return e.Stamp <= gone.Stamp
	}
	if e.Removed != 0 {
		return false
	}
	e.Removed = now
	r.LastSeen = max(r.LastSeen, now.Milliseconds())
	return true
}

// forget makes memories of all connections, and none of when they were there.
func (r *routes) forget(now Timestamp) {
	r.LastSeen = 0
	for i := range r.Entries {
		if e := &r.Entries[i]; e.Removed == 0 {
			e.Removed = now
		}
	}
	r.trim(now)
}

// trim drops memories that are old, and what is too many: memories first, then the
// oldest connections.
func (r *routes) trim(now Timestamp) {
	r.Entries = slices.DeleteFunc(r.Entries, func(e entry) bool { return e.Removed != 0 && !e.remembered(now) })
	slices.SortStableFunc(r.Entries, func(a, b entry) int {
		if (a.Removed == 0) != (b.Removed == 0) {
			if a.Removed == 0 {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Stamp, a.Stamp)
	})
	live := slices.IndexFunc(r.Entries, func(e entry) bool { return e.Removed != 0 })
	if live < 0 {
		live = len(r.Entries)
	}
	if live > devicesMax {
		r.Entries = slices.Delete(r.Entries, devicesMax, live)
	}
	r.Entries = r.Entries[:min(len(r.Entries), entriesMax)]
}

// Lookup reads where users are, in their order, in one batch. Routes of edges that
// ended or seem dead are left out.
func (d *Directory) Lookup(ctx context.Context, users []string) ([]Whereabouts, error) {
	found, err := d.read(ctx, users)
	for i := range found {
		found[i].prune(d.View())
	}
	return found, err
}

// read is Lookup with all that is stored.
func (d *Directory) read(ctx context.Context, users []string) ([]Whereabouts, error) {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	keys := make([][]byte, len(users))
	for i, user := range users {
		if err := checkUser(user); err != nil {
			return nil, err
		}
		keys[i] = d.keys.routes(user)
	}
	values, err := d.cfg.Store.BatchGet(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("look up %d users: %w", len(users), err)
	}
	found := make([]Whereabouts, len(users))
	for i, value := range values {
		if value == nil {
			continue
		}
		r, err := parseRoutes(value)
		if err != nil {
			d.stats.malformed.Add(1)
			continue
		}
		found[i] = r.whereabouts()
	}
	return found, nil
}

func (r *routes) whereabouts() Whereabouts {
	w := Whereabouts{LastSeenMS: r.LastSeen}
	for i := range r.Entries {
		if r.Entries[i].Removed == 0 {
			w.Routes = append(w.Routes, r.Entries[i].Route)
		}
	}
	slices.SortStableFunc(w.Routes, func(a, b Route) int { return cmp.Compare(b.Stamp, a.Stamp) })
	return w
}

// prune leaves out what is not worth a try. The slice is the caller's.
func (w *Whereabouts) prune(view *View) {
	w.Routes = slices.DeleteFunc(w.Routes, func(r Route) bool {
		at, away := view.away(r.Edge, r.Epoch)
		if away {
			w.LastSeenMS = max(w.LastSeenMS, max(at, r.Stamp).Milliseconds())
		}
		return away
	})
}
