package segment

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

// split deals the runs of a model over n adjacent segments, generations 10, 11 …
// (older ones lie below 10), with the pointers a store would give.
func split(t *rapid.T, whole model, n int) []model {
	parts := make([]model, n)
	for i := range parts {
		parts[i] = model{}
	}
	for log, r := range whole {
		older, rest := r.older, r.records
		for i := range parts {
			take := rapid.IntRange(0, len(rest)).Draw(t, "take")
			if i == n-1 {
				take = len(rest)
			}
			dropped := take == 0 && rapid.IntRange(0, 4).Draw(t, "head alone") == 0
			if take == 0 && !dropped && !(i == n-1 && older == r.older) {
				continue // this segment does not know the log
			}
			part := &run{older: older, records: rest[:take]}
			if take > 0 {
				part.head = rest[take-1].Seq
			}
			if i == n-1 {
				part.head = r.head
			}
			parts[i][log] = part
			older, rest = uint32(10+i), rest[take:]
		}
	}
	return parts
}

func TestMergeKeepsEverythingOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig(t)
		whole := drawModel(rt)
		n := rapid.IntRange(1, 5).Draw(rt, "sources")
		parts := split(rt, whole, n)
		var sources []*Reader
		for i, part := range parts {
			if rapid.Bool().Draw(rt, "other blocks") {
				cfg.BlockBytes = 1024
			}
			r := part.mustOpen(t, cfg, testMeta(uint64(i+1), uint32(10+i), uint32(10+i)), nil)
			defer r.Release()
			sources = append(sources, r)
		}
		for log := range whole { // the heads the parts know of
			head := godwit.Seq(0)
			for _, part := range parts {
				if r := part[log]; r != nil {
					head = max(head, r.head)
				}
			}
			whole[log].head = head
		}
		meta := testMeta(100, 10, uint32(10+n-1))
		made, err := Merge(cfg, meta, sources, nil, nil)
		must(t, err)
		merged, err := Open(cfg, made, nil)
		must(t, err)
		defer merged.Release()
		if err := whole.check(merged); err != nil {
			rt.Fatal(err)
		}
		if problems, err := Check(cfg.FS, merged.path); err != nil || len(problems) > 0 {
			rt.Fatal(problems, err)
		}

		kept := model{}
		keep := func(log godwit.LogID, e *godwit.Record) bool { return mix(uint64(log)+uint64(e.Seq))%3 > 0 }
		for log, r := range whole {
			some := &run{older: r.older, head: r.head}
			for _, e := range r.records {
				if keep(log, &e) {
					some.records = append(some.records, e)
				}
			}
			kept[log] = some
		}
		meta.ID = 101
		made, err = Merge(cfg, meta, sources, keep, nil)
		must(t, err)
		erased, err := Open(cfg, made, nil)
		must(t, err)
		defer erased.Release()
		if err := kept.check(erased); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestMergeRefusesOverlappingSources(t *testing.T) {
	cfg := testConfig(t)
	m := chatModel(seeded(1), 5, 5, 20)
	a := m.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	b := m.mustOpen(t, cfg, testMeta(2, 6, 6), nil)
	defer a.Release()
	defer b.Release()
	if _, err := Merge(cfg, testMeta(3, 5, 6), []*Reader{a, b}, nil, nil); !errors.Is(err, ErrOrder) {
		t.Errorf("the same entries twice: %v", err)
	}
	names, err := cfg.FS.List(testDir)
	if err != nil || len(names) != 2 {
		t.Errorf("left %v %v", names, err)
	}
}

// A pointer that would lead nowhere after the merge must not be written.
func TestMergeRefusesPointersIntoItsRange(t *testing.T) {
	cfg := testConfig(t)
	a, b := model{}, model{}
	a.add(1, 0, godwit.Record{Seq: 1})
	b.add(2, 5, godwit.Record{Seq: 9}) // says that segment 5 has log 2
	ra := a.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	rb := b.mustOpen(t, cfg, testMeta(2, 6, 6), nil)
	defer ra.Release()
	defer rb.Release()
	if _, err := Merge(cfg, testMeta(3, 5, 6), []*Reader{ra, rb}, nil, nil); !errors.Is(err, ErrOrder) {
		t.Errorf("got %v", err)
	}
}

func TestMergeTellsItsBytesAndStopsWhenTold(t *testing.T) {
	cfg := testConfig(t)
	cfg.Codec, cfg.BlockBytes = CodecNone, 4096
	m := chatModel(seeded(4), 600, 20, 200)
	r := m.mustOpen(t, cfg, testMeta(1, 5, 5), nil)
	defer r.Release()
	told := 0
	made, err := Merge(cfg, testMeta(2, 5, 5), []*Reader{r}, nil, func(n int) error {
		told += n
		return nil
	})
	must(t, err)
	whole := int(r.meta.SizeBytes + made.SizeBytes)
	if told > whole || told < whole*8/10 {
		t.Errorf("told of %d bytes, read and written were %d", told, whole)
	}
	stop := errors.New("stop")
	if _, err := Merge(cfg, testMeta(3, 5, 5), []*Reader{r}, nil, func(int) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	names, err := cfg.FS.List(testDir)
	if err != nil || len(names) != 2 {
		t.Errorf("left %v %v", names, err)
	}
}
