package wal

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// recycledSpare prepares a log of an empty file 1 and a spare file 2 that is
// recycled: its header is new, the rest still holds synced frames of a former
// life. Their numbers and places are those the new life is about to use, so
// that nothing but the file id tells them apart.
func recycledSpare(fs *crashFS) {
	old := newCrashFS()
	cfg := smallConfig(old)
	l, _, err := recoverAll(cfg)
	for i := 0; err == nil && i < 30; i++ {
		if err = l.Append([]Record{testRecord(1_000_000+i, 10)}); err == nil {
			err = l.Sync()
		}
	}
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		panic(err)
	}
	second := old.file(2).data
	recycled := fileHeader{id: 1 << 40, sequence: 2, sizeBytes: int64(len(second)), blockBytes: 512}
	fs.put(2, append(recycled.appendTo(nil), second[fileHeaderBytes:]...))
	first := fileHeader{id: 1 << 41, sequence: 1, sizeBytes: 8 * 512, blockBytes: 512}
	fs.put(1, append(first.appendTo(nil), make([]byte, 8*512-fileHeaderBytes)...))
}

func filePath(sequence uint64) string { return testDir + "/" + fileName(sequence) }

func (fs *crashFS) file(sequence uint64) *inode { return fs.names[filePath(sequence)] }

// put makes a durable file.
func (fs *crashFS) put(sequence uint64, data []byte) {
	fs.names[filePath(sequence)] = newInode(data)
}

// clone is what another process would read now.
func (fs *crashFS) clone() *crashFS {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	c := newCrashFS()
	for name, n := range fs.names {
		c.names[name] = newInode(bytes.Clone(n.data))
	}
	return c
}

func TestStaleFramesOfARecycledFileAreNotReplayed(t *testing.T) {
	fs := newCrashFS()
	recycledSpare(fs)
	stale := bytes.Clone(fs.file(2).data)
	cfg := smallConfig(fs)
	l, got := mustOpen(t, cfg)
	must(t, l.spare.finish())
	if len(got) != 0 || l.spare.ready == nil || l.spare.ready.id != 1<<40 {
		t.Fatalf("%d records of the former life, spare %+v", len(got), l.spare.ready)
	}
	var want []Record
	for l.current.sequence < 2 || l.off < 4*512 {
		want = append(want, testRecord(len(want), 10))
		must(t, l.Append(want[len(want)-1:]))
		must(t, l.Sync())
	}
	// The stale frame behind the last one has the very number that comes next.
	h, ok := parseFrameHeader(stale[l.off:])
	if !ok || h.lsn != l.LSN()+1 {
		t.Fatalf("the test does not test: stale frame %d, log at %d", h.lsn, l.LSN())
	}
	image := fs.powerFailure(rand.New(rand.NewPCG(1, 1)))
	must(t, l.Close())
	for _, fs := range []*crashFS{image, fs} {
		l, got := mustOpen(t, smallConfig(fs))
		if err := samePrefix(got, want); err != nil || len(got) != len(want) {
			t.Fatalf("%d of %d records, %v", len(got), len(want), err)
		}
		must(t, l.Close())
	}
}
