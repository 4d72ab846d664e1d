package router

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var (
	sampleRoutes = routes{LastSeen: 1700000000000, Entries: []entry{
		{Route: Route{Device: "phone", Edge: 7, Epoch: 3, Conn: 99, Stamp: 1 << 40}},
		{Route: Route{Device: "", Edge: 1, Epoch: 1, Conn: 0, Stamp: 5}, Removed: 1 << 41},
	}}
	sampleLease = lease{
		Member: Member{
			Name: "edge-1", Epoch: 4, State: StateDraining, Address: "10.0.0.1:7000", URL: "wss://e1.example/v1/ws",
			Zone: "a", Version: "1.2", Sessions: 5000, Capacity: 20000,
		}, Beat: 17, At: 1 << 50, Before: 1 << 49,
	}
	sampleLock = lockValue{Token: 3, Beat: 9, Owner: "n1"}
	sampleMap  = func() *Map {
		m := &Map{Version: 2, Groups: []Group{{ID: 1, Replicas: []string{"n1", "n2"}}, {ID: 900, Replicas: []string{"n3"}}}}
		for i := range m.Partitions {
			m.Partitions[i] = []uint16{1, 900}[i%2]
		}
		return m
	}
)

// The stored format is a promise to older and newer processes.
func TestStoredFormatStands(t *testing.T) {
	k := newKeys("c1")
	f := func(what string, got []byte, want string) {
		t.Helper()
		if hex.EncodeToString(got) != want {
			t.Errorf("%s is %x, want %s", what, got, want)
		}
	}
	f("the key of a user", k.routes("alice"), hex.EncodeToString([]byte("godwit/c1/r/"))+"73a3"+hex.EncodeToString([]byte("alice")))
	if h := k.routes("alice")[12:14]; bytes.Equal(h, k.routes("bob")[12:14]) {
		t.Errorf("two users have hash %x", h)
	}
	f("the key of a lease", k.lease(258), hex.EncodeToString([]byte("godwit/c1/e/\x00\x00\x01\x02")))
	f("the key of a node", k.node("n1"), hex.EncodeToString([]byte("godwit/c1/n/n1")))
	f("the key of a number", k.number("e1"), hex.EncodeToString([]byte("godwit/c1/E/e1")))
	f("routes", (&routes{LastSeen: 1, Entries: sampleRoutes.Entries[:1]}).appendTo(nil),
		"01"+"0000000000000001"+"01"+"0570686f6e65"+"00000007"+"0000000000000003"+"0000000000000063"+"0000010000000000"+"0000000000000000")
	f("a lock", sampleLock.appendTo(nil), "01"+"0000000000000003"+"0000000000000009"+"026e31")
	l := lease{Member: Member{Name: "e", Epoch: 1, State: StateGone, Address: "a", URL: "u", Zone: "z", Version: "v", Sessions: 2, Capacity: 3}, Beat: 4, At: 5, Before: 6}
	f("a lease", l.appendTo(nil), "0102"+"0000000000000001"+"0000000000000004"+"0000000000000005"+"0000000000000006"+
		"0000000000000002"+"0000000000000003"+"0165"+"0161"+"0175"+"017a"+"0176")
	m := sampleMap().appendTo(nil)
	f("the head of a map", m[:24], "01"+"0000000000000002"+"0002"+"0001"+"02"+"026e31"+"026e32"+"0384"+"01"+"02")
	if want := 1 + 8 + 2 + 2 + 1 + 6 + 2 + 1 + 3 + 2*Partitions; len(m) != want {
		t.Errorf("the map has %d bytes, want %d", len(m), want)
	}
	f("a number", appendNumber(nil, 5), "010000000000000005")
}

func TestValuesRoundTrip(t *testing.T) {
	if got, err := parseRoutes(sampleRoutes.appendTo(nil)); err != nil || !reflect.DeepEqual(got, sampleRoutes) {
		t.Errorf("routes: %+v (%v)", got, err)
	}
	if got, err := parseLease(sampleLease.appendTo(nil)); err != nil || got != sampleLease {
		t.Errorf("lease: %+v (%v)", got, err)
	}
	if got, err := parseLock(sampleLock.appendTo(nil)); err != nil || got != sampleLock {
		t.Errorf("lock: %+v (%v)", got, err)
	}
	if got, err := parseMap(sampleMap().appendTo(nil)); err != nil || !reflect.DeepEqual(got, sampleMap()) {
		t.Errorf("map: %+v (%v)", got, err)
	}
}

// A scan over leases and nodes meets nothing else, whatever the other keys are.
func TestMembersLieTogether(t *testing.T) {
	k := newKeys("c1")
	start, end := k.members()
	inside := func(key []byte) bool { return bytes.Compare(key, start) >= 0 && bytes.Compare(key, end) < 0 }
	for _, key := range [][]byte{k.lease(0), k.lease(1<<32 - 1), k.node("a"), k.node(strings.Repeat("z", nameMax))} {
		if !inside(key) {
			t.Errorf("key %q is outside", key)
		}
	}
	for _, key := range [][]byte{
		k.routes("u"), k.number("e1"), k.lastNumber(), k.placement(), k.version(), k.lock(), k.collection(),
		newKeys("c10").lease(1), newKeys("c0").node("a"), newKeys("c1-x").lease(1),
	} {
		if inside(key) {
			t.Errorf("key %q is inside", key)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, seed := range [][]byte{
		sampleRoutes.appendTo(nil), sampleLease.appendTo(nil), sampleLock.appendTo(nil), sampleMap().appendTo(nil),
		appendNumber(nil, 7),
		{},
		{format},
		{2},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(what string, again []byte, err error) {
			if err != nil {
				if !errors.Is(err, ErrFormat) {
					t.Errorf("%s: the error is %v", what, err)
				}
				return
			}
			if !bytes.Equal(again, b) {
				t.Errorf("%s: %x is written anew as %x", what, b, again)
			}
		}
		r, err := parseRoutes(b)
		if err == nil {
			check("routes", r.appendTo(nil), nil)
			now := Timestamp(1 << 60)
			r.put(Route{Device: "d", Edge: 1, Epoch: 1, Stamp: now}, &View{known: 5}, now)
			r.trim(now)
			if _, err := parseRoutes(r.appendTo(nil)); err != nil {
				t.Errorf("routes that were changed can't be read: %v", err)
			}
		} else {
			check("routes", nil, err)
		}
		l, err := parseLease(b)
		check("lease", l.appendTo(nil), err)
		k, err := parseLock(b)
		check("lock", k.appendTo(nil), err)
		m, err := parseMap(b)
		if err != nil {
			m = &Map{}
		}
		check("map", m.appendTo(nil), err)
		if n, err := parseNumber(b); b != nil {
			check("number", appendNumber(nil, n), err)
		}
	})
}

func FuzzMemberKey(f *testing.F) {
	k := newKeys("c1")
	f.Add(k.lease(7))
	f.Add(k.node("n1"))
	f.Add(k.routes("u"))
	f.Add([]byte("godwit/c1/n/"))
	f.Fuzz(func(t *testing.T, b []byte) {
		number, name, err := k.parseMember(b)
		switch {
		case err != nil:
			if !errors.Is(err, ErrFormat) {
				t.Errorf("the error is %v", err)
			}
		case name != "" && !bytes.Equal(k.node(name), b):
			t.Errorf("%q is the key of node %q", b, name)
		case name == "" && !bytes.Equal(k.lease(number), b):
			t.Errorf("%q is the key of edge %d", b, number)
		}
	})
}
