package rows

import (
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
	groups [2]modelGroup
}

var modelKeys = rapid.Custom(func(t *rapid.T) []byte {
	return rapid.SliceOfN(rapid.SampledFrom([]byte{'a', 0xff}), 0, 2).Draw(t, "key")
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

// batch changes a few rows, some of them fetched before.
func (m *model) batch(t *rapid.T) {
	g := m.group(t)
	for range rapid.IntRange(1, 6).Draw(t, "changes") {
		key := modelKeys.Draw(t, "key")
		if rapid.Bool().Draw(t, "fetch") {
			if err := g.overlay.Fetch(key); err != nil {
				t.Fatal(err)
			}
		}
		if rapid.Bool().Draw(t, "delete") {
			g.overlay.Delete(key)
			delete(g.current, string(key))
			continue
		}
		value := rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "value")
		g.overlay.Put(key, value)
		g.current[string(key)] = string(value)
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

func (m *model) advance(t *rapid.T) { m.step(t, m.group(t)) }

// checkpoint ends the checkpoint under way, or makes a whole one.
func (m *model) checkpoint(t *rapid.T) {
	g := m.group(t)
	for m.step(t, g); g.frozen != nil; {
		m.step(t, g)
	}
}

// step takes the next step of a checkpoint.
func (m *model) step(t *rapid.T, g *modelGroup) {
	switch {
	case g.frozen == nil:
		g.overlay.Freeze()
		g.frozen, g.written = maps.Clone(g.current), false
	case !g.written:
		m.commit(t, g)
	default:
		g.overlay.DropFrozen()
		g.frozen, g.written = nil, false
	}
}

// commit writes the frozen rows of one group or of all that have some.
func (m *model) commit(t *rapid.T, one *modelGroup) {
	all := rapid.Bool().Draw(t, "all")
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
		var pairs [][]byte
		err := g.overlay.Scan(nil, func(key, value []byte) bool {
			pairs = append(pairs, key, value) // valid beyond the call
			return true
		})
		if err != nil || len(pairs) != 2*len(g.current) {
			t.Fatalf("group %d has %q, %v, want %q", i, pairs, err, g.current)
		}
		for p := range slices.Chunk(pairs, 2) {
			if want, ok := g.current[string(p[0])]; !ok || string(p[1]) != want {
				t.Fatalf("group %d has %q: %q, want %q, %v", i, p[0], p[1], want, ok)
			}
		}
		for _, key := range []string{"", "a", "\xff", "aa", "a\xff", "\xffa", "\xff\xff"} {
			g.checkRow(t, key)
		}
		if g.overlay.Bytes() < 0 || g.overlay.Len() == 0 && g.overlay.Bytes() != 0 {
			t.Fatalf("group %d: %d rows of %d bytes", i, g.overlay.Len(), g.overlay.Bytes())
		}
	}
}

func (g *modelGroup) checkRow(t *rapid.T, key string) {
	want, wanted := g.current[key]
	value, ok, err := g.overlay.Get([]byte(key))
	if err != nil || ok != wanted || string(value) != want {
		t.Fatalf("Get %q: %q, %v, %v, want %q, %v", key, value, ok, err, want, wanted)
	}
	value, ok, err = g.overlay.Lookup([]byte(key))
	if err != nil || ok != wanted || string(value) != want {
		t.Fatalf("Lookup %q: %q, %v, %v, want %q, %v", key, value, ok, err, want, wanted)
	}
}

func TestOverlayBehavesLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{fs: vfs.NewMem()}
		m.open(t)
		defer func() { _ = m.db.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"batch": m.batch, "batch2": m.batch, "batch3": m.batch, "checkpoint": m.checkpoint,
			"checkpoint2": m.checkpoint, "advance": m.advance, "advance2": m.advance,
			"fetch": m.fetch, "clear": m.clear, "scan": m.scan,
			"reopen": m.reopen, "compact": m.compact, "": m.check,
		})
	})
}
