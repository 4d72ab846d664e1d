package segment

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/godwit-im/godwit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testDir = "/data/segments"

// testConfig has small blocks, so that small tests cross their borders.
func testConfig(t testing.TB) Config {
	t.Helper()
	fs := vfs.NewMem()
	must(t, fs.MkdirAll(testDir, 0o755))
	return Config{FS: fs, Dir: testDir, BlockBytes: 512, Codec: CodecZstd}
}

func testMeta(id uint64, first, last uint32) Meta {
	return Meta{ID: id, Group: 3, FirstGeneration: first, LastGeneration: last, Tier: 1, FirstIndex: 10, LastIndex: 20, Created: 1_700_000_000_000}
}

// run is what a segment should know of one log.
type run struct {
	older   uint32
	head    godwit.Seq
	records []godwit.Record // ascending
}

// model is what a segment should hold.
type model map[godwit.LogID]*run

func (m model) logs() []godwit.LogID { return slices.Sorted(maps.Keys(m)) }

func (m model) entries() (n int) {
	for _, r := range m {
		n += len(r.records)
	}
	return n
}

func (m model) add(log godwit.LogID, older uint32, records ...godwit.Record) {
	r := m[log]
	if r == nil {
		r = &run{older: older}
		m[log] = r
	}
	for _, e := range records {
		r.records = append(r.records, e)
		r.head = max(r.head, e.Seq)
	}
}

// write makes the segment of a model.
func (m model) write(cfg Config, meta Meta) (Meta, error) {
	w, err := Create(cfg, meta)
	if err != nil {
		return Meta{}, err
	}
	defer w.Abort()
	for _, log := range m.logs() {
		r := m[log]
		for i := range r.records {
			e := r.records[i]
			e.Meta, e.Body = slices.Clone(e.Meta), slices.Clone(e.Body)
			if err := w.Add(log, r.older, &e); err != nil {
				return Meta{}, err
			}
			clear(e.Meta) // the writer must not need them any more
			clear(e.Body)
		}
		if len(r.records) == 0 || r.head > r.records[len(r.records)-1].Seq {
			if err := w.AddHead(log, r.head, r.older); err != nil {
				return Meta{}, err
			}
		}
	}
	return w.Finish()
}

func (m model) mustOpen(t testing.TB, cfg Config, meta Meta, cache *Cache) *Reader {
	t.Helper()
	made, err := m.write(cfg, meta)
	must(t, err)
	r, err := Open(cfg, made, cache)
	must(t, err)
	return r
}

// check reads all of the segment in every way and compares.
func (m model) check(r *Reader) error {
	if err := m.checkScan(r); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	if err := m.checkHeads(r); err != nil {
		return fmt.Errorf("heads: %w", err)
	}
	var c Cursor
	for log, want := range m {
		first, last, older, ok, err := r.Run(&c, log)
		if err != nil {
			return err
		}
		wantFirst, wantLast := godwit.Seq(0), godwit.Seq(0)
		if n := len(want.records); n > 0 {
			wantFirst, wantLast = want.records[0].Seq, want.records[n-1].Seq
		}
		if !ok || first != wantFirst || last != wantLast || older != want.older || !r.MayContain(log) {
			return fmt.Errorf("run of log %d: got %d to %d, older %d, %t, want %d to %d, older %d", log, first, last, older, ok, wantFirst, wantLast, want.older)
		}
		if err := m.checkLog(r, &c, log); err != nil {
			return err
		}
	}
	return nil
}

func (m model) checkLog(r *Reader, c *Cursor, log godwit.LogID) error {
	want := m[log].records
	for i := len(want) - 1; i >= 0; i-- { // backwards, as pages go
		got, ok, err := r.Entry(c, log, want[i].Seq)
		if err != nil {
			return err
		}
		if !ok || !same(got, want[i]) {
			return fmt.Errorf("log %d: got %v (%t), want %v", log, got, ok, want[i])
		}
		if i > 0 && want[i-1].Seq != want[i].Seq-1 {
			if got, ok, err := r.Entry(c, log, want[i].Seq-1); ok || err != nil {
				return fmt.Errorf("log %d: the hole at %d holds %v (%v)", log, want[i].Seq-1, got, err)
			}
		}
	}
	for _, from := range []int{0, len(want) / 2, len(want)} {
		at := godwit.Seq(1)
		if from > 0 {
			at = want[from-1].Seq + 1
		}
		rest := want[from:]
		err := r.Ascend(c, log, at, func(e *godwit.Record) bool {
			if len(rest) == 0 || !same(*e, rest[0]) {
				rest = append(rest[:0:0], godwit.Record{}, godwit.Record{})
				return false
			}
			rest = rest[1:]
			return true
		})
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return fmt.Errorf("log %d: ascending from %d goes wrong", log, at)
		}
	}
	return nil
}

func (m model) checkScan(r *Reader) error {
	s := r.Scan()
	logs := m.logs()
	for s.NextRun() {
		if len(logs) == 0 || s.Log() != logs[0] || s.Older() != m[logs[0]].older || s.Head() != m[logs[0]].head {
			return fmt.Errorf("unexpected log %d, older %d, head %d", s.Log(), s.Older(), s.Head())
		}
		want := m[logs[0]].records
		for s.Next() {
			if len(want) == 0 || !same(*s.Record(), want[0]) {
				return fmt.Errorf("log %d: unexpected %v", s.Log(), s.Record())
			}
			want = want[1:]
		}
		if len(want) > 0 && s.Err() == nil {
			return fmt.Errorf("log %d: %d entries missing", s.Log(), len(want))
		}
		logs = logs[1:]
	}
	if s.Err() == nil && len(logs) > 0 {
		return fmt.Errorf("%d logs missing", len(logs))
	}
	return s.Err()
}

func (m model) checkHeads(r *Reader) error {
	logs := m.logs()
	err := r.Heads(func(log godwit.LogID, seq godwit.Seq) error {
		if len(logs) == 0 || log != logs[0] || seq != m[log].head {
			return fmt.Errorf("unexpected log %d with head %d", log, seq)
		}
		logs = logs[1:]
		return nil
	})
	if err == nil && len(logs) > 0 {
		return fmt.Errorf("%d logs missing", len(logs))
	}
	return err
}

func same(a, b godwit.Record) bool {
	return a.Seq == b.Seq && a.Conv == b.Conv && a.Prev == b.Prev && a.Time == b.Time &&
		bytes.Equal(a.Meta, b.Meta) && bytes.Equal(a.Body, b.Body)
}

// words are the sentences test texts are made of.
var words = func() []string {
	text, err := os.ReadFile("../../harness/load/corpus.txt")
	if err != nil {
		text = []byte("the quick brown fox jumps over the lazy dog and then it does it again because nobody said that it must not do so today")
	}
	return strings.Fields(string(text))
}()

// english returns n bytes of text with the corpus' word frequencies.
func english(rnd *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+32)
	for len(b) < n {
		b = append(append(b, words[rnd.IntN(len(words))]...), ' ')
	}
	return b[:n]
}

// chatModel has logs with a few conversations each, as a store would flush them.
func chatModel(rnd *rand.Rand, logs, entriesMax, bodyBytes int) model {
	m := model{}
	for i := range logs {
		log := godwit.NewLogID(godwit.Partition(i*16/logs), uint64(i*3+1))
		newest := map[uint32]godwit.Seq{}
		first := godwit.Seq(1 + rnd.IntN(5000))
		at := int64(1_700_000_000_000) + rnd.Int64N(300_000)
		var records []godwit.Record
		for k := range 1 + rnd.IntN(entriesMax) {
			conv := uint32(1 + min(rnd.IntN(5), rnd.IntN(20)))
			e := godwit.Record{Seq: first + godwit.Seq(k), Conv: conv, Prev: newest[conv], Time: at}
			e.Meta = []byte{byte(rnd.IntN(2)), byte(k + 1), byte(conv)}
			e.Body = english(rnd, bodyBytes)
			at += rnd.Int64N(20_000)
			newest[conv] = e.Seq
			records = append(records, e)
		}
		m.add(log, uint32(rnd.IntN(2)), records...)
	}
	return m
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
