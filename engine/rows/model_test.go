package rows

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// modelGroup is what one group's rows should be.
type modelGroup struct {
	overlay *Overlay
	current map[string]string
	frozen  map[string]string // nil: no frozen layer
	durable map[string]string // nil: the DB has never had a row
	written bool              // frozen is committed
}

// model runs random steps on a DB with overlays and on maps.
type model struct {
	fs     *vfs.MemFS
	db     *DB
	groups [3]modelGroup
}

var modelKeys = rapid.Custom(func(t *rapid.T) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 0xff}), 0, 3).Draw(t, "key")
})

func (m *model) open(t *rapid.T) {
	var err error
	if m.db, err = Open(smallConfig(m.fs)); err != nil {
		t.Fatal(err)
	}
	for i := range m.groups {
		g := &m.groups[i]
		*g = modelGroup{overlay: NewOverlay(m.db, groupID(i)), durable: g.durable, current: maps.Clone(g.durable)}
		if g.current == nil {
			g.current = map[string]string{}
		}
	}
}

// groupID makes groups that follow one another, with 0xff at the end of one.
func groupID(i int) uint32 { return uint32(254 + i) }

func (m *model) group(t *rapid.T) *modelGroup {
	return &m.groups[rapid.IntRange(0, len(m.groups)-1).Draw(t, "group")]
}

func (m *model) put(t *rapid.T) {
	g, key := m.group(t), modelKeys.Draw(t, "key")
	value := rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "value")
	g.overlay.Put(key, value)
	g.current[string(key)] = string(value)
}

func (m *model) delete(t *rapid.T) {
	g, key := m.group(t), modelKeys.Draw(t, "key")
	g.overlay.Delete(key)
	delete(g.current, string(key))
}

func (m *model) get(t *rapid.T) {
	g, key := m.group(t), modelKeys.Draw(t, "key")
	want, wanted := g.current[string(key)]
	for name, get := range map[string]func([]byte) ([]byte, bool, error){"Get": g.overlay.Get, "Lookup": g.overlay.Lookup} {
		value, ok, err := get(key)
		if err != nil || ok != wanted || string(value) != want && ok {
			t.Fatalf("%s %q: %q, %v, %v, want %q, %v", name, key, value, ok, err, want, wanted)
		}
	}
}

func (m *model) fetch(t *rapid.T) {
	if err := m.group(t).overlay.Fetch(modelKeys.Draw(t, "key")); err != nil {
		t.Fatal(err)
	}
}

func (m *model) clear(t *rapid.T) { m.group(t).overlay.Clear() }

func (m *model) scan(t *rapid.T) {
	g, prefix := m.group(t), modelKeys.Draw(t, "prefix")
	limit := rapid.IntRange(1, 8).Draw(t, "limit")
	var want, got []string
	for _, key := range slices.Sorted(maps.Keys(g.current)) {
		if strings.HasPrefix(key, string(prefix)) && len(want) < 2*limit {
			want = append(want, key, g.current[key])
		}
	}
	var pairs [][]byte
	err := g.overlay.Scan(prefix, func(key, value []byte) bool {
		pairs = append(pairs, key, value) // valid beyond the call
		return len(pairs) < 2*limit
	})
	for _, b := range pairs {
		got = append(got, string(b))
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("scan %q: %q, %v, want %q", prefix, got, err, want)
	}
}

func (m *model) freeze(t *rapid.T) {
	if g := m.group(t); g.frozen == nil {
		g.overlay.Freeze()
		g.frozen, g.written = maps.Clone(g.current), false
	}
}

// commit writes the frozen rows of one group or of all that have some.
func (m *model) commit(t *rapid.T) {
	all := rapid.Bool().Draw(t, "all")
	one := m.group(t)
	b := m.db.NewBatch()
	defer b.Close()
	for i := range m.groups {
		if g := &m.groups[i]; g.frozen != nil && !g.written && (all || g == one) {
			if err := g.overlay.WriteFrozen(b); err != nil {
				t.Fatal(err)
			}
			g.durable, g.written = g.frozen, true
		}
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) drop(t *rapid.T) {
	if g := m.group(t); g.written && g.frozen != nil {
		g.overlay.DropFrozen()
		g.frozen, g.written = nil, false
	}
}

func (m *model) reopen(t *rapid.T) {
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
}

func (m *model) compact(t *rapid.T) {
	if err := m.db.pebble.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
}

// check compares everything.
func (m *model) check(t *rapid.T) {
	for i := range m.groups {
		g := &m.groups[i]
		n := 0
		err := g.overlay.Scan(nil, func(key, value []byte) bool {
			want, ok := g.current[string(key)]
			if n++; !ok || !bytes.Equal(value, []byte(want)) {
				t.Fatalf("group %d has %q: %q, want %q, %v", i, key, value, want, ok)
			}
			return true
		})
		if err != nil || n != len(g.current) {
			t.Fatalf("group %d has %d rows, %v, want %d", i, n, err, len(g.current))
		}
		if g.overlay.Bytes() < 0 || g.overlay.Len() == 0 && g.overlay.Bytes() != 0 {
			t.Fatalf("group %d: %d rows of %d bytes", i, g.overlay.Len(), g.overlay.Bytes())
		}
	}
}

func TestOverlayBehavesLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{fs: vfs.NewMem()}
		m.open(t)
		defer func() { _ = m.db.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"put": m.put, "put2": m.put, "delete": m.delete, "get": m.get, "get2": m.get,
			"fetch": m.fetch, "clear": m.clear, "scan": m.scan, "freeze": m.freeze,
			"commit": m.commit, "drop": m.drop, "reopen": m.reopen, "compact": m.compact, "": m.check,
		})
	})
}
