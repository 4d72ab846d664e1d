package router

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// The whole layout. Every key begins with "godwit/", the cluster's name and "/", so
// that clusters, and others, can share a store:
//
//	r/ h user   routes of a user; h is the first 16 bits of a hash, so that neighbours
//	            in time are not neighbours in the store
//	e/ number   lease of an edge (u32)        n/ name   registration of an engine node
//	E/ name     number of an edge, for good   c/num     the last number given
//	c/map       partition → group → replicas  c/ver     its version, cheap to ask for
//	c/lock      placement lock                c/gc      lock of who collects
//
// e/ and n/ are neighbours: one scan reads both. A value is a format byte and then
// fixed fields: integers are big-endian, texts have their length before them (u8).

// format is the first byte of every value.
const format = 1

// Bounds of what is stored.
const (
	textMax         = 255
	nameMax         = 64
	clusterMax      = 32
	devicesMax      = 32 // live routes of a user: the oldest gives way
	entriesMax      = 64 // with those that are only remembered
	scanMax         = 4096
	Partitions      = 1024
	groupsMax       = Partitions
	replicasMax     = 16
	stampShift      = 18
	stampKeptMS     = 60_000 // how long a removed route's stamp is remembered
	firstEdgeNumber = 1
)

// Milliseconds returns the time of a timestamp, in ms since the Unix epoch.
func (t Timestamp) Milliseconds() int64 { return int64(t >> stampShift) }

// TimestampOf returns the smallest timestamp of a time, in ms since the Unix epoch.
func TimestampOf(ms int64) Timestamp { return Timestamp(max(0, ms)) << stampShift }

// keys makes the keys of one cluster.
type keys struct{ prefix string }

func newKeys(cluster string) keys { return keys{"godwit/" + cluster + "/"} }

func (k keys) routes(user string) []byte {
	b := append(append(make([]byte, 0, len(k.prefix)+4+len(user)), k.prefix...), "r/"...)
	b = binary.BigEndian.AppendUint16(b, uint16(xxhash.Sum64String(user)>>48))
	return append(b, user...)
}

func (k keys) lease(number uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte(k.prefix+"e/"), number)
}

func (k keys) node(name string) []byte   { return []byte(k.prefix + "n/" + name) }
func (k keys) number(name string) []byte { return []byte(k.prefix + "E/" + name) }
func (k keys) lastNumber() []byte        { return []byte(k.prefix + "c/num") }
func (k keys) placement() []byte         { return []byte(k.prefix + "c/map") }
func (k keys) version() []byte           { return []byte(k.prefix + "c/ver") }
func (k keys) lock() []byte              { return []byte(k.prefix + "c/lock") }
func (k keys) collection() []byte        { return []byte(k.prefix + "c/gc") }

// members bounds the scan over leases and nodes.
func (k keys) members() (start, end []byte) {
	return []byte(k.prefix + "e/"), []byte(k.prefix + "n0") // '0' follows '/'
}

// parseMember tells whose lease or registration a key is.
func (k keys) parseMember(key []byte) (number uint32, node string, err error) {
	rest, ok := cutPrefix(key, k.prefix)
	switch {
	case ok && len(rest) == 6 && string(rest[:2]) == "e/":
		return binary.BigEndian.Uint32(rest[2:]), "", nil
	case ok && len(rest) > 2 && len(rest) <= 2+nameMax && string(rest[:2]) == "n/":
		return 0, string(rest[2:]), nil
	}
	return 0, "", fmt.Errorf("%w: key %q", ErrFormat, key)
}

func cutPrefix(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return nil, false
	}
	return b[len(prefix):], true
}

// entry is one device of a routes value. Removed is when it ended, 0 while it lives.
type entry struct {
	Route
	Removed Timestamp
}

// routes is the value of a user.
type routes struct {
	LastSeen int64 // ms since the Unix epoch
	Entries  []entry
}

func (r *routes) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, format), uint64(r.LastSeen))
	b = append(b, byte(len(r.Entries)))
	for i := range r.Entries {
		e := &r.Entries[i]
		b = appendText(b, e.Device)
		b = binary.BigEndian.AppendUint32(b, e.Edge)
		for _, n := range [...]uint64{e.Epoch, e.Conn, uint64(e.Stamp), uint64(e.Removed)} {
			b = binary.BigEndian.AppendUint64(b, n)
		}
	}
	return b
}

func parseRoutes(b []byte) (routes, error) {
	d := begin(b)
	r := routes{LastSeen: int64(d.u64())}
	count := int(d.u8())
	if count > entriesMax || r.LastSeen < 0 {
		d.bad = true
	}
	for i := 0; i < count && !d.bad; i++ {
		var e entry
		e.Device = d.text(textMax)
		e.Edge, e.Epoch, e.Conn = d.u32(), d.u64(), d.u64()
		e.Stamp, e.Removed = Timestamp(d.u64()), Timestamp(d.u64())
		r.Entries = append(r.Entries, e)
	}
	return r, d.end("routes")
}

// lease is the value of an edge's lease and of a node's registration.
type lease struct {
	Member
	Beat   uint64    // goes up with every beat
	At     Timestamp // of the last beat, by the store's clock
	Before Timestamp // of the last beat of the epoch before this one
}

func (l *lease) appendTo(b []byte) []byte {
	b = append(b, format, byte(l.State))
	for _, n := range [...]uint64{l.Epoch, l.Beat, uint64(l.At), uint64(l.Before), l.Sessions, l.Capacity} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, s := range [...]string{l.Name, l.Address, l.URL, l.Zone, l.Version} {
		b = appendText(b, s)
	}
	return b
}

func parseLease(b []byte) (lease, error) {
	d := begin(b)
	var l lease
	l.State = State(d.u8())
	l.Epoch, l.Beat, l.At, l.Before = d.u64(), d.u64(), Timestamp(d.u64()), Timestamp(d.u64())
	l.Sessions, l.Capacity = d.u64(), d.u64()
	l.Name, l.Address, l.URL = d.text(nameMax), d.text(textMax), d.text(textMax)
	l.Zone, l.Version = d.text(nameMax), d.text(nameMax)
	if l.State > StateGone {
		d.bad = true
	}
	return l, d.end("lease")
}

// lockValue is the value of a lock. Owner is empty while nobody has it.
type lockValue struct {
	Token uint64 // of the last who had it: goes up with every taking
	Beat  uint64
	Owner string
}

func (l *lockValue) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, format), l.Token)
	return appendText(binary.BigEndian.AppendUint64(b, l.Beat), l.Owner)
}

func parseLock(b []byte) (lockValue, error) {
	d := begin(b)
	l := lockValue{Token: d.u64(), Beat: d.u64(), Owner: d.text(nameMax)}
	return l, d.end("lock")
}

func (m *Map) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, format), m.Version)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Groups)))
	for i := range m.Groups {
		b = binary.BigEndian.AppendUint16(b, m.Groups[i].ID)
		b = append(b, byte(len(m.Groups[i].Replicas)))
		for _, name := range m.Groups[i].Replicas {
			b = appendText(b, name)
		}
	}
	for _, group := range m.Partitions {
		b = binary.BigEndian.AppendUint16(b, group)
	}
	return b
}

func parseMap(b []byte) (*Map, error) {
	d := begin(b)
	m := &Map{Version: d.u64()}
	groups := int(d.u16())
	for i := 0; i < groups && !d.bad; i++ {
		g := Group{ID: d.u16()}
		replicas := int(d.u8())
		for j := 0; j < replicas && !d.bad; j++ {
			g.Replicas = append(g.Replicas, d.text(nameMax))
		}
		m.Groups = append(m.Groups, g)
	}
	for i := range m.Partitions {
		m.Partitions[i] = d.u16()
	}
	if err := d.end("map"); err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return m, nil
}

func appendNumber(b []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, format), n)
}

// parseNumber reads a lone number: of an edge, or a version. No value is 0.
func parseNumber(b []byte) (uint64, error) {
	if b == nil {
		return 0, nil
	}
	d := begin(b)
	n := d.u64()
	return n, d.end("number")
}

func appendText(b []byte, s string) []byte {
	if len(s) > textMax {
		panic("BUG: a text that is too long was not refused")
	}
	return append(append(b, byte(len(s))), s...)
}

// decoder reads fixed fields; bad stays set after the first that is not there.
type decoder struct {
	rest []byte
	bad  bool
}

func begin(b []byte) *decoder {
	d := &decoder{rest: b}
	if d.u8() != format {
		d.bad = true
	}
	return d
}

func (d *decoder) take(n int) []byte {
	if d.bad || len(d.rest) < n {
		d.bad = true
		return make([]byte, min(n, 8))
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) u8() byte    { return d.take(1)[0] }
func (d *decoder) u16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) u32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

func (d *decoder) text(most int) string {
	n := int(d.u8())
	if n > most {
		d.bad = true
	}
	if d.bad {
		return ""
	}
	return string(d.take(n))
}

// end says whether all was there and nothing is left.
func (d *decoder) end(what string) error {
	if d.bad || len(d.rest) != 0 {
		return fmt.Errorf("%w: %s", ErrFormat, what)
	}
	return nil
}
