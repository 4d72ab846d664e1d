package memtable

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

func TestMixIsABijection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Uint64().Draw(t, "x")
		if unmix(mix(x)) != x || mix(unmix(x)) != x {
			t.Fatalf("unmix does not undo mix of %#x", x)
		}
	})
}

// TestHeadsAreAMap compares heads with a Go map, over several splits.
func TestHeadsAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var heads Heads
		model := map[godwit.LogID]Head{}
		raise := false
		set := func(log godwit.LogID, h Head) {
			if raise {
				heads.Raise(log, h.Seq, h.Generation)
				h = Head{max(h.Seq, model[log].Seq), max(h.Generation, model[log].Generation)}
			} else {
				heads.Set(log, h.Seq, h.Generation)
			}
			model[log] = h
		}
		for range rapid.IntRange(0, 6).Draw(t, "runs") {
			raise = rapid.Bool().Draw(t, "raise")
			log := godwit.LogID(rapid.Uint64().Draw(t, "log"))
			if rapid.Bool().Draw(t, "near") {
				log %= 3
			}
			step := godwit.LogID(rapid.SampledFrom([]uint64{0, 1, 1 << 20, 1 << 48, 0x9e3779b97f4a7c15}).Draw(t, "step"))
			head := Head{
				Seq:        godwit.Seq(rapid.Uint64Range(1, uint64(SeqMax)).Draw(t, "seq")),
				Generation: rapid.Uint32Range(0, GenerationMax).Draw(t, "generation"),
			}
			for range rapid.SampledFrom([]int{1, 3, 100, 20_000}).Draw(t, "n") {
				set(log, head)
				log += step
			}
		}
		if heads.Len() != len(model) {
			t.Fatalf("%d logs, want %d", heads.Len(), len(model))
		}
		for log, want := range model {
			seq, generation, ok := heads.Get(log)
			if !ok || seq != want.Seq || generation != want.Generation {
				t.Fatalf("head of %x is %d, %d (%v), want %v", log, seq, generation, ok, want)
			}
		}
		seen := 0
		for log, head := range heads.All() {
			if model[log] != head {
				t.Fatalf("All: head of %x is %v, want %v", log, head, model[log])
			}
			seen++
		}
		if seen != len(model) {
			t.Fatalf("All yields %d logs, want %d", seen, len(model))
		}
		if _, _, ok := heads.Get(godwit.LogID(rapid.Uint64().Draw(t, "stranger"))); ok && len(model) == 0 {
			t.Fatal("an empty table has a head")
		}
	})
}

// probes returns how many slots a search for each key looks at, on average and
// at most.
func (s *slots) probes() (mean float64, most int) {
	sum := 0
	for i := range s.shards {
		for at, e := range s.shards[i].table {
			if e.value != 0 {
				n := at - s.shards[i].home(e.hash) + 1
				sum, most = sum+n, max(most, n)
			}
		}
	}
	return float64(sum) / float64(s.n), most
}

// TestSearchesStayShort for ids of every kind, at fills just before growing and after.
func TestSearchesStayShort(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	f := func(name string, id func(i uint64) uint64) {
		var heads Heads
		for i := range uint64(150_000) {
			heads.Set(godwit.LogID(id(i)), 1, 1)
			if n := heads.Len(); n == 1000 || n%10_000 == 0 {
				if mean, most := heads.slots.probes(); mean > 8 || most > 120 {
					t.Fatalf("%s: %d logs take %.1f probes on average, %d at most", name, n, mean, most)
				}
			}
		}
		if heads.Len() != 150_000 {
			t.Fatalf("%s: %d logs", name, heads.Len())
		}
	}
	f("sequential", func(i uint64) uint64 { return i })
	f("equal low bits", func(i uint64) uint64 { return i << 40 })
	f("equal high bits", func(i uint64) uint64 { return 0xffff_ffff_f000_0000 | i })
	f("partitions", func(i uint64) uint64 {
		return uint64(godwit.NewLogID(godwit.Partition(i%godwit.Partitions), i/godwit.Partitions))
	})
	f("every 1024th", func(i uint64) uint64 { return i << 10 })
	f("descending", func(i uint64) uint64 { return -i })
	f("random", func(uint64) uint64 { return rnd.Uint64() })
}

// TestHeadsComeInAnOrderOfTheirOwn: equal contents come in equal order, however
// they were put in.
func TestHeadsComeInAnOrderOfTheirOwn(t *testing.T) {
	const n = 50_000
	var forth, back Heads
	for i := range godwit.LogID(n) {
		forth.Set(i, 1, 0)
		back.Set(n-1-i, 1, 0)
	}
	order := func(h *Heads) (logs []godwit.LogID) {
		for log := range h.All() {
			logs = append(logs, log)
		}
		return logs
	}
	if logs := order(&forth); len(logs) != n || !slices.Equal(logs, order(&back)) {
		t.Errorf("%d logs, or another order", len(logs))
	}
	for range forth.All() {
		break // must not go on
	}
}

// TestAllYieldsEachHeadOnceWhileShardsSplit: for a while some shards have split
// and others not, so that several prefixes lead to one shard.
func TestAllYieldsEachHeadOnceWhileShardsSplit(t *testing.T) {
	var heads Heads
	uneven := 0
	for i := range godwit.LogID(70_000) {
		heads.Set(i, 1, 0)
		if len(heads.slots.dir) == len(heads.slots.shards) || i%50 != 0 {
			continue
		}
		uneven++
		n, previous := 0, uint64(0)
		for log := range heads.All() {
			if hash := mix(uint64(log)); n > 0 && hash <= previous {
				t.Fatalf("log %d comes late or twice among %d", log, i+1)
			} else {
				previous = hash
			}
			n++
		}
		if n != int(i)+1 {
			t.Fatalf("All yields %d logs, want %d", n, i+1)
		}
	}
	if uneven == 0 {
		t.Error("the shards are never uneven: nothing was tested")
	}
}

// mustPanic runs fn, which must find a bug.
func mustPanic(t *testing.T, name string, fn func()) {
	t.Helper()
	defer func() {
		if text, _ := recover().(string); !strings.HasPrefix(text, "BUG: ") {
			t.Errorf("%s: panics with %q", name, text)
		}
	}()
	fn()
}

func TestWhatCannotBeStoredIsABug(t *testing.T) {
	var heads Heads
	mustPanic(t, "no sequence", func() { heads.Set(1, 0, 1) })
	mustPanic(t, "large sequence", func() { heads.Set(1, SeqMax+1, 1) })
	mustPanic(t, "large generation", func() { heads.Set(1, 1, GenerationMax+1) })
	mustPanic(t, "no sequence to raise", func() { heads.Raise(1, 0, 1) })
	table := NewTable()
	mustPanic(t, "sequence 0", func() { table.Append(1, godwit.Record{}) })
	mustPanic(t, "sequence beyond", func() { table.Append(1, godwit.Record{Seq: SeqMax + 1}) })
	mustPanic(t, "Prev is not older", func() { table.Append(1, godwit.Record{Seq: 5, Prev: 5}) })
	mustPanic(t, "large Meta", func() { table.Append(1, godwit.Record{Seq: 5, Meta: make([]byte, 1<<24)}) })
	mustPanic(t, "large Body", func() { table.Append(1, godwit.Record{Seq: 5, Body: make([]byte, 1<<24)}) })
	table.Append(2, godwit.Record{Seq: 5})
	mustPanic(t, "gap", func() { table.Append(2, godwit.Record{Seq: 7}) })
	mustPanic(t, "again", func() { table.Append(2, godwit.Record{Seq: 5}) })
	cache := mustRecent(t, RecentConfig{BytesMax: 1 << 20})
	mustPanic(t, "record beyond the head", func() { cache.Put(1, 0, 1, 1, []godwit.Record{{Seq: 2}}) })
}
