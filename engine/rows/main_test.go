package rows

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testDir = "data/rows"

// smallConfig makes Pebble flush after a few batches.
func smallConfig(fs vfs.FS) Config {
	return Config{FS: fs, Dir: testDir, memTableBytes: 64 << 10, CacheBytes: cacheBytesMin}
}

func mustOpen(t testing.TB, cfg Config) *DB {
	t.Helper()
	db, err := Open(cfg)
	must(t, err)
	return db
}

// openTemp opens a DB in memory that the test's end closes.
func openTemp(t testing.TB) *DB {
	t.Helper()
	db := mustOpen(t, smallConfig(vfs.NewMem()))
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, db *DB, group uint32, key, value string) {
	t.Helper()
	b := db.NewBatch()
	defer b.Close()
	b.Put(group, []byte(key), []byte(value))
	must(t, b.Commit())
}

// roundRows is how many rows a round of commitRound writes.
const roundRows = 20

// commitRound makes one batch in which everything carries the number of the
// round: rows, checkpoint, and the newest of three segments.
func commitRound(db *DB, round uint64, valueBytes int) error {
	b := db.NewBatch()
	defer b.Close()
	for i := range roundRows {
		value := make([]byte, valueBytes)
		for j := 8; j < len(value); j++ {
			value[j] = byte(j*(i+7)) ^ byte(round*uint64(j))
		}
		binary.BigEndian.PutUint64(value, round)
		b.Put(uint32(i%3), fmt.Appendf(nil, "row %d", i), value)
	}
	b.SetCheckpoint(1, Checkpoint{Applied: round, Term: 2 * round, Stamp: int64(round), Generation: uint32(round), NextSegment: round + 1})
	b.AddSegment(1, round, fmt.Appendf(nil, "meta %d", round))
	if round > 3 {
		b.RemoveSegment(1, round-3)
	}
	return b.Commit()
}

// readRound returns the round that the database is at, 0 if none was committed.
// An error means that a batch is there in part.
func readRound(db *DB) (uint64, error) {
	c, _, err := db.Checkpoint(1)
	if err != nil {
		return 0, err
	}
	round := c.Applied
	want := Checkpoint{Applied: round, Term: 2 * round, Stamp: int64(round), Generation: uint32(round), NextSegment: round + 1}
	if round == 0 {
		want = Checkpoint{}
	}
	if c != want {
		return 0, fmt.Errorf("round %d: checkpoint is %+v", round, c)
	}
	for i := range roundRows {
		value, ok, err := db.Get(uint32(i%3), fmt.Appendf(nil, "row %d", i), nil)
		if err != nil {
			return 0, err
		}
		if ok != (round > 0) || ok && binary.BigEndian.Uint64(value) != round {
			return 0, fmt.Errorf("round %d: row %d is %v, %.8x", round, i, ok, value)
		}
	}
	next := max(round, 3) - 2
	err = db.Segments(1, func(id uint64, meta []byte) error {
		if id != next || string(meta) != fmt.Sprintf("meta %d", id) {
			return fmt.Errorf("round %d: segment %d is %q, want number %d", round, id, meta, next)
		}
		next++
		return nil
	})
	if err == nil && round > 0 && next != round+1 {
		err = fmt.Errorf("round %d: segments end at %d", round, next-1)
	}
	return round, err
}
