package chat

import (
	"bytes"
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// checkGroups compares the rows of every group with each other.
func checkGroups(t failer, s *memStore) {
	t.Helper()
	for at, g := range s.groups {
		v := s.View(at)
		for key, value := range g.rows {
			if key[2] == rowGroup {
				checkGroup(t, v, []byte(key[5:]), value)
			}
		}
		v.Close()
	}
}

func checkGroup(t failer, v View, id, value []byte) {
	t.Helper()
	var g groupRow
	if !g.parse(value) {
		t.Fatalf("row of group %s does not parse", id)
	}
	listed := map[string]bucketEntry{}
	for n := range g.buckets {
		count := 0
		eachOfBucket(v, id, n, func(e bucketEntry) bool {
			if count++; count > bucketMembers {
				t.Fatalf("bucket %d of %s is overfull", n, id)
			}
			if e.left != 0 {
				m, _ := memberOf(v, id, e.user)
				was := [2]godwit.Seq{e.since, e.left}
				if e.left <= e.since || e.left > g.head || was != [2]godwit.Seq{m.since, m.left} && !slices.Contains(m.spans[:], was) &&
					m.spans[memberSpansMax-1][0] == 0 {
					t.Fatalf("%s is listed in %s from %d to %d, his row is %+v", e.user, id, e.since, e.left, m)
				}
				return true
			}
			if _, twice := listed[string(e.user)]; twice {
				t.Fatalf("%s is listed twice in %s", e.user, id)
			}
			m, _ := memberOf(v, id, e.user)
			if m.bucket != n || m.role != e.role || m.since != e.since || !m.isMember() {
				t.Fatalf("%s is listed as %+v in bucket %d of %s, his row is %+v", e.user, e, n, id, m)
			}
			listed[string(e.user)] = bucketEntry{role: e.role}
			return true
		})
	}
	if uint64(len(listed)) != g.members {
		t.Fatalf("%d members listed in %s, the row has %d", len(listed), id, g.members)
	}
	rows := uint64(0)
	prefix := appendGroupPrefix(nil, rowMember, id)
	v.Scan(prefix, func(key, value []byte) bool {
		var m memberRow
		if !m.parse(value) {
			t.Fatalf("member row of %s in %s does not parse", key[len(prefix):], id)
		}
		if m.isMember() {
			rows++
			if (m.role == roleOwner) != bytes.Equal(g.owner, key[len(prefix):]) {
				t.Fatalf("%s has role %d in %s, owner is %q", key[len(prefix):], m.role, id, g.owner)
			}
		}
		return true
	})
	_, pending := v.Get(appendPendingKey(nil, id))
	switch {
	case rows != g.members:
		t.Fatalf("%d member rows of %s, the row has %d", rows, id, g.members)
	case pending != (g.fanned < g.head):
		t.Fatalf("%s is fanned to %d of %d, pending: %t", id, g.fanned, g.head, pending)
	case (g.members == 0) != (g.flags&groupDissolved != 0):
		t.Fatalf("%s has %d members and flags %b", id, g.members, g.flags)
	case v.Head(g.logID(id)) != g.head:
		t.Fatalf("log of %s ends at %d, the row says %d", id, v.Head(g.logID(id)), g.head)
	}
}

// checkReplays: the same commands in other batches give the same bytes.
func checkReplays(t testing.TB, s *memStore) {
	t.Helper()
	want := s.digests()
	for _, size := range []int{1, 3, 1 << 20} {
		r := newMemStore(len(s.groups))
		for i, g := range s.groups {
			for part := range slices.Chunk(g.commands, size) {
				for _, c := range part {
					r.groups[i].apply(r.machine, memCommand{c.stamp, bytes.Clone(c.command)}, nil)
				}
				r.machine.Flush(i, false)
			}
		}
		if got := r.digests(); !slices.Equal(got, want) {
			t.Errorf("a replay in batches of %d gives another state", size)
		}
	}
}
