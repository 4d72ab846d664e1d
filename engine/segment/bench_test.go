package segment

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// shape is a segment as a flush (few entries a log) or a merge (many) makes it.
type shape struct {
	name          string
	logs, entries int // entries of a log: 1 to 2*entries-1
}

var shapes = []shape{{"flush1", 40_000, 1}, {"flush8", 5_000, 8}, {"merged50", 800, 50}}

func (s shape) model() model { return chatModel(seeded(7), s.logs, 2*s.entries-1, 128) }

func benchConfig(b *testing.B) Config {
	return Config{FS: vfs.Default, Dir: b.TempDir(), Codec: CodecZstd}
}

func benchWrite(b *testing.B, cfg Config, m model) {
	user := int64(0)
	logs := m.logs()
	for _, r := range m {
		for _, e := range r.records {
			user += int64(len(e.Meta) + len(e.Body))
		}
	}
	var made Meta
	b.SetBytes(user)
	id := uint64(0)
	for b.Loop() {
		id++
		w, err := Create(cfg, testMeta(id, 7, 7))
		must(b, err)
		for _, log := range logs {
			for i := range m[log].records {
				must(b, w.Add(log, m[log].older, &m[log].records[i]))
			}
		}
		made, err = w.Finish()
		must(b, err)
		must(b, cfg.FS.Remove(cfg.FS.PathJoin(cfg.Dir, FileName(id))))
	}
	b.ReportMetric(float64(made.SizeBytes)/float64(made.Entries), "disk-B/entry")
	b.ReportMetric(float64(made.RawBytes)/float64(made.Entries), "raw-B/entry")
}

// BenchmarkWrite is the flush, fsyncs included, and what an entry of 128 bytes of
// text and 3 of Meta takes on disk, everything included.
func BenchmarkWrite(b *testing.B) {
	for _, s := range shapes {
		m := s.model()
		for _, kib := range []int{4, 8, 16, 32} {
			for level := 1; level <= 3; level++ {
				cfg := benchConfig(b)
				cfg.BlockBytes, cfg.Level = kib<<10, level
				b.Run(fmt.Sprintf("%s/%dKiB/level%d", s.name, kib, level), func(b *testing.B) { benchWrite(b, cfg, m) })
			}
		}
	}
	cfg := benchConfig(b)
	cfg.Codec = CodecNone
	b.Run("flush8/none", func(b *testing.B) { benchWrite(b, cfg, shapes[1].model()) })
}

// BenchmarkPage reads the newest 50 entries of a random log, backwards.
func BenchmarkPage(b *testing.B) {
	m := shapes[2].model()
	logs := m.logs()
	for _, kib := range []int{4, 8, 16, 32} {
		cfg := benchConfig(b)
		cfg.BlockBytes = kib << 10
		cache := NewCache(1 << 30)
		cold, warm := m.mustOpen(b, cfg, testMeta(1, 7, 7), nil), m.mustOpen(b, cfg, testMeta(2, 7, 7), cache)
		page := make([]godwit.Record, 0, 50)
		var c Cursor
		read := func(b *testing.B, r *Reader, log godwit.LogID) {
			page = page[:0]
			c.Reset()
			_, last, _, _, err := r.Run(&c, log)
			for seq := last; err == nil && len(page) < 50 && seq > 0; seq-- {
				var e godwit.Record
				var ok bool
				if e, ok, err = r.Entry(&c, log, seq); !ok {
					break
				}
				page = append(page, e)
			}
			must(b, err)
		}
		rnd := rand.New(rand.NewPCG(1, 1))
		for _, log := range logs {
			read(b, warm, log)
		}
		b.Run(fmt.Sprintf("warm/%dKiB", kib), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				read(b, warm, logs[rnd.IntN(len(logs))])
				n += len(page)
			}
			b.ReportMetric(float64(n)/float64(b.N), "entries")
		})
		b.Run(fmt.Sprintf("nocache/%dKiB", kib), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				read(b, cold, logs[rnd.IntN(len(logs))])
			}
		})
		must(b, cold.Release())
		must(b, warm.Release())
		cache.Close()
	}
}

// BenchmarkMerge joins four segments with the same logs.
func BenchmarkMerge(b *testing.B) {
	for _, level := range []int{1, 2, 3} {
		b.Run(fmt.Sprintf("level%d", level), func(b *testing.B) {
			cfg := benchConfig(b)
			cfg.Level = level
			sources, user := mergeSources(b, cfg, 4)
			b.SetBytes(user)
			id := uint64(100)
			for b.Loop() {
				id++
				_, err := Merge(cfg, testMeta(id, 1, 4), sources, nil, nil)
				must(b, err)
				must(b, cfg.FS.Remove(cfg.FS.PathJoin(cfg.Dir, FileName(id))))
			}
			for _, r := range sources {
				must(b, r.Release())
			}
		})
	}
}

func mergeSources(b *testing.B, cfg Config, n int) (sources []*Reader, user int64) {
	whole := shapes[1].model()
	for i := range n {
		part := model{}
		for log, r := range whole {
			cut := func(k int) int { return len(r.records) * k / n }
			if cut(i) == cut(i+1) {
				continue
			}
			older := uint32(0)
			if cut(i) > 0 {
				older = uint32(cutOwner(len(r.records), n, cut(i)-1))
			}
			part.add(log, older, r.records[cut(i):cut(i+1)]...)
			for _, e := range part[log].records {
				user += int64(len(e.Meta) + len(e.Body))
			}
		}
		sources = append(sources, part.mustOpen(b, cfg, testMeta(uint64(i+1), uint32(i+1), uint32(i+1)), nil))
	}
	return sources, user
}

// cutOwner returns the generation of the source that record at of total lies in.
func cutOwner(total, n, at int) int {
	for i := range n {
		if at < total*(i+1)/n {
			return i + 1
		}
	}
	return n
}
