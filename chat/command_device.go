//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// devicesMax is how many devices of a user are remembered. Beyond it a new one
// takes the place of the one that was seen least lately.
const devicesMax = 100

// deviceOp says what a device command does. The numbers are part of the log's format.
type deviceOp uint8

const (
	deviceSeen      deviceOp = 1 // it has a session
	deviceLogout    deviceOp = 2
	deviceLogoutAll deviceOp = 3
)

// deviceCommand notes that a device was seen, or logs out one or all of a user.
type deviceCommand struct {
	op     deviceOp
	user   []byte
	device []byte // none with deviceLogoutAll
	forget []byte // with deviceSeen: the device whose place it takes if there are too many
	issued int64  // with deviceSeen: when its token was issued
}

func (c *deviceCommand) append(dst []byte, home godwit.Partition) []byte {
	dst = append(appendHeader(dst, kindDevice, home), byte(c.op))
	dst = appendShort(appendShort(appendShort(dst, c.user), c.device), c.forget)
	return binary.AppendUvarint(dst, uint64(c.issued))
}

func (c *deviceCommand) parse(r *reader) bool {
	c.op, c.user, c.device, c.forget = deviceOp(r.u8()), r.short(), r.short(), r.short()
	c.issued = r.millis()
	if !r.done() || !godwit.ValidID(c.user) {
		return false
	}
	named := godwit.ValidID(c.device)
	switch c.op {
	case deviceSeen:
		return named && (len(c.forget) == 0 || godwit.ValidID(c.forget) && string(c.forget) != string(c.device))
	case deviceLogout:
		return named && len(c.forget) == 0 && c.issued == 0
	case deviceLogoutAll:
		return len(c.device) == 0 && len(c.forget) == 0 && c.issued == 0
	}
	return false
}

func (c *deviceCommand) reads(_ header, put func(key []byte)) {
	p := userOf(c.user).Partition()
	put(appendKey(nil, p, rowCounter))
	put(appendUserKey(nil, p, c.user))
	for _, device := range [...][]byte{c.device, c.forget} {
		if len(device) > 0 {
			put(appendPeerKey(nil, p, rowDevice, c.user, device))
		}
	}
}

// deviceRow is a device of a user. Times are the leader's, ms since the Unix epoch.
type deviceRow struct {
	since     int64 // when it was seen first, or first after it was logged out
	seen      int64 // when it was seen last, give or take deviceSeenEvery
	loggedOut int64 // tokens issued before are void on it; 0: it never was
}

// deviceSeenEvery is how long a device that comes back is not noted again.
const deviceSeenEvery = 24 * 3600 * 1000

func (d *deviceRow) append(dst []byte) []byte {
	return appendFields(dst, 2, uint64(d.since), uint64(d.seen), uint64(d.loggedOut))
}

func (d *deviceRow) parse(src []byte) bool {
	r := reader{b: src}
	d.since, d.seen = r.millis(), r.millis()
	var out uint64
	r.rest(&out)
	d.loggedOut = int64(out)
	return r.done() && out <= 1<<62
}

// isVoid tells whether a token issued then is void on the device.
func (d *deviceRow) isVoid(u *userRow, issued int64) bool {
	return d.loggedOut != 0 && issued < d.loggedOut || u.loggedOut != 0 && issued < int64(u.loggedOut)
}

// isActive tells whether the device was seen since it was last logged out.
func (d *deviceRow) isActive(u *userRow) bool {
	return d.seen > d.loggedOut && d.seen > int64(u.loggedOut)
}
