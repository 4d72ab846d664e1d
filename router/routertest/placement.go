package routertest

import (
	"reflect"
	"testing"

	"github.com/godwit-im/godwit/router"
)

func placement(t *testing.T, p *process, owner string) *router.Lock {
	t.Helper()
	var lock *router.Lock
	must(t, insist(func() (err error) { lock, err = p.Placement(bounded(t), owner); return err }))
	return lock
}

func testFencing(t *testing.T, s router.Store) {
	cluster := unique()
	a, b := open(t, s, cluster), open(t, s, cluster)
	first := placement(t, a, "a")
	put := func(p *process, lock *router.Lock, replica string) error {
		m, err := p.Map(bounded(t))
		must(t, err)
		m.Groups = []router.Group{{ID: 0, Replicas: []string{replica}}}
		return insist(func() error { return p.PutMap(bounded(t), lock, m) })
	}
	must(t, put(a, first, "one"))
	// b takes it when the beat stood still, and a's token is worth nothing.
	_, err := b.Placement(bounded(t), "b")
	wantError(t, err, router.ErrLocked)
	b.pass(t, deadAfter)
	second := placement(t, b, "b")
	if second.Token() <= first.Token() {
		t.Fatalf("token %d after %d", second.Token(), first.Token())
	}
	wantError(t, put(a, first, "two"), router.ErrFenced)
	wantError(t, insist(func() error { return first.Beat(bounded(t)) }), router.ErrFenced)
	must(t, insist(func() error { return first.Release(bounded(t)) })) // gives up nothing of b's
	must(t, put(b, second, "three"))

	// It is taken between the look at the token and the commit.
	var third *router.Lock
	slow := open(t, Overtaken(s, func() {
		if third == nil {
			third = placement(t, a, "b") // a process of the same name began again
		}
	}), cluster)
	wantError(t, put(slow, second, "four"), router.ErrFenced)
	m, err := a.Map(bounded(t))
	must(t, err)
	if got := m.Groups[0].Replicas[0]; got != "three" || m.Version != 2 {
		t.Fatalf("the map has version %d and replica %s", m.Version, got)
	}
	must(t, put(a, third, "five"))
	must(t, insist(func() error { return third.Release(bounded(t)) }))
	placement(t, a, "a") // free at once
}

func testLockMoves(t *testing.T, s router.Store) {
	cluster := unique()
	a, b := open(t, s, cluster), open(t, s, cluster)
	lock := placement(t, a, "a")
	for range 3 {
		_, err := b.Placement(bounded(t), "b")
		wantError(t, err, router.ErrLocked)
		must(t, insist(func() error { return lock.Beat(bounded(t)) }))
		b.pass(t, deadAfter)
	}
	_, err := b.Placement(bounded(t), "b")
	wantError(t, err, router.ErrLocked)
	b.pass(t, deadAfter)
	placement(t, b, "b")
	wantError(t, insist(func() error { return lock.Beat(bounded(t)) }), router.ErrFenced)
}

func testMap(t *testing.T, s router.Store) {
	cluster := unique()
	p := open(t, s, cluster)
	m, err := p.Map(bounded(t))
	must(t, err)
	if m.Version != 0 {
		t.Fatalf("a cluster that has none has map %+v", m)
	}
	lock := placement(t, p, "a")
	m.Groups = []router.Group{{ID: 3, Replicas: []string{"n1", "n2", "n3"}}, {ID: 7, Replicas: []string{"n2"}}}
	for i := range m.Partitions {
		m.Partitions[i] = []uint16{3, 7}[i%2]
	}
	must(t, insist(func() error { return p.PutMap(bounded(t), lock, m) }))
	version, err := p.MapVersion(bounded(t))
	must(t, err)
	if version != 1 || m.Version != 1 {
		t.Fatalf("version %d is stored, %d told", version, m.Version)
	}
	got, err := open(t, s, cluster).Map(bounded(t))
	must(t, err)
	if !reflect.DeepEqual(got, m) {
		t.Fatalf("the map is %+v, want %+v", got, m)
	}
	stale := *m
	stale.Version = 0
	stale.Groups = []router.Group{{ID: 3, Replicas: []string{"n9"}}, {ID: 7, Replicas: []string{"n2"}}}
	wantError(t, insist(func() error { return p.PutMap(bounded(t), lock, &stale) }), router.ErrVersion)
	stale = *m
	stale.Partitions[5] = 99
	if err := p.PutMap(bounded(t), lock, &stale); err == nil {
		t.Error("a partition in no group is accepted")
	}
	m.Partitions[0] = 7
	must(t, insist(func() error { return p.PutMap(bounded(t), lock, m) }))
	if m.Version != 2 {
		t.Errorf("the second change has version %d", m.Version)
	}
}
