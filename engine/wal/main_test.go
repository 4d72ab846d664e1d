package wal

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testDir = "/data/wal"

// smallConfig makes files of a few blocks, with ids 1, 2, 3 … so that runs repeat.
func smallConfig(fs vfs.FS) Config {
	id := uint64(0)
	return Config{
		FS: fs, Dir: testDir, FirstFileBytes: 8 * 512, MaxFileBytes: 32 * 512, BlockBytes: 512,
		FileID: func() uint64 { id++; return id },
	}
}

// newMem is a file system with the parent of testDir.
func newMem(t testing.TB) *vfs.MemFS {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data", 0o755); err != nil {
		t.Fatal(err)
	}
	return fs
}

// testRecord is the i-th record of a test; every field depends on i.
func testRecord(i, payloadBytes int) Record {
	payload := make([]byte, payloadBytes)
	for j := range payload {
		payload[j] = byte(i*31 + j*7 + 1)
	}
	return Record{Group: uint32(i % 3), Kind: Kind(i), Term: uint64(i / 10), Index: uint64(i), Payload: payload}
}

func sameRecord(a, b Record) bool {
	return a.Group == b.Group && a.Kind == b.Kind && a.Term == b.Term && a.Index == b.Index && slices.Equal(a.Payload, b.Payload)
}

func samePrefix(got, want []Record) error {
	if len(got) > len(want) {
		return fmt.Errorf("%d records recovered, only %d were appended", len(got), len(want))
	}
	for i := range got {
		if !sameRecord(got[i], want[i]) {
			return fmt.Errorf("record %d: got index %d with %d bytes, want index %d with %d bytes",
				i, got[i].Index, len(got[i].Payload), want[i].Index, len(want[i].Payload))
		}
	}
	return nil
}

// recoverAll opens the log and returns it with its records.
func recoverAll(cfg Config) (*Log, []Record, error) {
	l, got, _, err := recoverFiles(cfg)
	return l, got, err
}

// recoverFiles is recoverAll with the file of each record.
func recoverFiles(cfg Config) (l *Log, got []Record, files []uint64, err error) {
	l, err = Open(cfg, func(file uint64, r Record) error {
		got, files = append(got, r), append(files, file)
		return nil
	})
	return l, got, files, err
}

func mustOpen(t testing.TB, cfg Config) (*Log, []Record) {
	t.Helper()
	l, got, err := recoverAll(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l, got
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
