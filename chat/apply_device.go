//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// logoutEffect says that sessions have to be closed.
type logoutEffect struct {
	user   []byte
	device []byte // empty: all of the user's
}

func (c *deviceCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	p := userOf(c.user).Partition()
	if st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	u := a.user(tx, p, c.user)
	switch c.op {
	case deviceSeen:
		a.seeDevice(tx, p, &u, c)
	case deviceLogout:
		// A device that is not remembered has no row to say so; its sessions end.
		if d, ok := a.device(tx, p, c.user, c.device); ok {
			d.loggedOut = max(d.loggedOut, tx.Stamp())
			a.putDevice(tx, p, c.user, c.device, &d)
		}
		a.effects.logouts = append(a.effects.logouts, logoutEffect{c.user, c.device})
	case deviceLogoutAll:
		a.allot(tx, p, &u)
		u.loggedOut = max(u.loggedOut, uint64(tx.Stamp()))
		a.putUser(tx, p, c.user, &u)
		a.effects.logouts = append(a.effects.logouts, logoutEffect{c.user, nil})
	}
	return outcome{}
}

// seeDevice notes that a device has a session. One too many that names none to
// forget is not remembered.
func (a *applier) seeDevice(tx Tx, p godwit.Partition, u *userRow, c *deviceCommand) {
	d, known := a.device(tx, p, c.user, c.device)
	if d.isVoid(u, c.issued) {
		return // it was logged out since
	}
	now := max(tx.Stamp(), d.loggedOut+1, int64(u.loggedOut)+1)
	if !known {
		if u.devices >= devicesMax && len(c.forget) > 0 {
			if _, ok := a.device(tx, p, c.user, c.forget); ok {
				tx.Delete(a.key)
				u.devices--
			}
		}
		if u.devices >= devicesMax {
			return
		}
		a.allot(tx, p, u)
		u.devices++
		a.putUser(tx, p, c.user, u)
	}
	if !known || !d.isActive(u) {
		d.since = now
	}
	d.seen = max(d.seen, now)
	a.putDevice(tx, p, c.user, c.device, &d)
}

func (a *applier) device(tx Tx, p godwit.Partition, user, device []byte) (d deviceRow, ok bool) {
	row, ok := tx.Get(a.keyOf(appendPeerKey(a.key[:0], p, rowDevice, user, device)))
	if ok && !d.parse(row) {
		panic("BUG: device row does not parse")
	}
	return d, ok
}

func (a *applier) putDevice(tx Tx, p godwit.Partition, user, device []byte, d *deviceRow) {
	a.value = d.append(a.value[:0])
	tx.Put(a.keyOf(appendPeerKey(a.key[:0], p, rowDevice, user, device)), a.value)
}
