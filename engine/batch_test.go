package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit/engine/wal"
)

func sealedBatch(commands ...string) []byte {
	b := &openBatch{}
	b.reset(9)
	for _, c := range commands {
		b.add([]byte(c), nil)
	}
	return b.seal(77, 1234)
}

func TestBatchRoundTrip(t *testing.T) {
	commands := []string{"a", "", string(make([]byte, 300)), "z"}
	b, err := parseBatch(sealedBatch(commands...))
	if err != nil {
		t.Fatal(err)
	}
	if b.life != 77 || b.number != 9 || b.stamp != 1234 || b.count != 4 {
		t.Fatalf("got %+v", b)
	}
	rest := b.commands
	for _, want := range commands {
		var got []byte
		if got, rest, _ = cutCommand(rest); string(got) != want || cap(got) != len(got) {
			t.Fatalf("got %q with room %d, want %q", got, cap(got), want)
		}
	}
}

func TestDamagedBatchIsRefusedWhole(t *testing.T) {
	f := func(name string, data []byte) {
		t.Helper()
		if _, err := parseBatch(data); !errors.Is(err, errBatch) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	good := sealedBatch("one", "two")
	for n := range good {
		f(fmt.Sprintf("cut to %d bytes", n), good[:n])
	}
	change := func(at int, to byte) []byte {
		c := bytes.Clone(good)
		c[at] = to
		return c
	}
	f("version", change(0, 2))
	f("count too low", change(25, 1))
	f("count too high", change(25, 3))
	f("length beyond the end", change(batchHeaderBytes, 200))
	f("no command", sealedBatch())
	f("more than it says", append(bytes.Clone(good), 0))
	f("endless varint", append(bytes.Clone(good[:batchHeaderBytes]), bytes.Repeat([]byte{0xff}, 12)...))
}

// A log whose checksums hold but whose batch is of a newer version must stop
// Open with an error, not be skipped and not panic.
func TestUnreadableBatchRefusesToOpen(t *testing.T) {
	for _, data := range [][]byte{{2, 0, 0}, append([]byte{9}, sealedBatch("x")[1:]...)} {
		for _, committed := range []bool{true, false} {
			fs := vfs.NewMem()
			s := mustOpen(t, testConfig(t, fs, 1), newAppender(1))
			last := s.groups[0].applied
			mustClose(t, s)
			log, err := wal.Open(wal.Config{FS: fs, Dir: "store/wal"}, func(uint64, wal.Record) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			records := []wal.Record{{Kind: recordEntry, Term: 1, Index: last + 1, Payload: data}}
			if committed {
				records = append(records, wal.Record{Kind: recordHardState, Term: 1, Index: last + 1, Payload: make([]byte, 8)})
			}
			if err := errors.Join(log.Append(records), log.Sync(), log.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(testConfig(t, fs, 1), newAppender(1)); !errors.Is(err, errBatch) {
				t.Fatalf("committed %v: got %v", committed, err)
			}
		}
	}
}

func TestImpossibleRecordsRefuseToOpen(t *testing.T) {
	f := func(name string, records ...wal.Record) {
		t.Helper()
		fs := vfs.NewMem()
		log, err := wal.Open(wal.Config{FS: fs, Dir: "store/wal"}, func(uint64, wal.Record) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(log.Append(records), log.Sync(), log.Close()); err != nil {
			t.Fatal(err)
		}
		cfg := testConfig(t, fs, 1)
		if err := writeSuperblock(&cfg, superblock{groups: 1, node: 1, voters: []uint64{1}}); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(cfg, newAppender(1)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	entry := func(index uint64) wal.Record { return wal.Record{Kind: recordEntry, Term: 1, Index: index} }
	hard := func(term, commit uint64) wal.Record {
		return wal.Record{Kind: recordHardState, Term: term, Index: commit, Payload: make([]byte, 8)}
	}
	f("gap", entry(1), entry(3))
	f("index 0", entry(0))
	f("overwritten after commit", entry(1), hard(1, 1), entry(1))
	f("commit beyond the log", entry(1), hard(1, 2))
	f("commit goes back", entry(1), entry(2), hard(1, 2), hard(1, 1))
	f("term goes back", entry(1), hard(2, 1), hard(1, 1))
	f("group out of range", wal.Record{Group: 1, Kind: recordEntry, Term: 1, Index: 1})
	f("unknown kind", wal.Record{Kind: 9, Term: 1, Index: 1})
	f("hard state without vote", wal.Record{Kind: recordHardState, Term: 1})
}

func FuzzBatch(f *testing.F) {
	f.Add(sealedBatch("one", "", "three"))
	f.Add(sealedBatch())
	f.Add([]byte{})
	f.Add([]byte{batchVersion})
	f.Add(append(sealedBatch("x"), 0x80, 0x80))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBatch(data)
		if err != nil {
			if !errors.Is(err, errBatch) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again := &openBatch{}
		again.reset(b.number)
		rest := b.commands
		for range b.count {
			command, r, ok := cutCommand(rest)
			if !ok {
				t.Fatal("a parsed batch has an unreadable command")
			}
			again.add(command, nil)
			rest = r
		}
		if len(rest) != 0 {
			t.Fatalf("%d bytes left", len(rest))
		}
		// Lengths may be coded with more bytes than needed; nothing else may differ.
		if got, err := parseBatch(again.seal(b.life, b.stamp)); err != nil || got.count != b.count || got.stamp != b.stamp {
			t.Fatalf("got %+v, %v, want %+v", got, err, b)
		}
	})
}

func FuzzSuperblock(f *testing.F) {
	f.Add(superblock{groups: 8, node: 1, created: 5, voters: []uint64{1}}.appendTo(nil))
	f.Add(superblock{hasLog: true, voters: []uint64{1, 2, 3}}.appendTo(nil))
	f.Add([]byte(superblockMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSuperblock(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := parseSuperblock(s.appendTo(nil))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Fatalf("got %+v, %v, want %+v", again, err, s)
		}
	})
}
