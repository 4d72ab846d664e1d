package segment

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

var update = flag.Bool("update", false, "write testdata/v1.seg anew: only with a new format version")

// goldenModel has every flag of a piece, an empty run and blocks of both codecs.
func goldenModel() model {
	m := model{}
	text := []byte("the same words again and again, so that a block shrinks; ")
	for seq := godwit.Seq(1); seq < 30; seq++ {
		m.add(godwit.NewLogID(2, 5), 3, godwit.Record{
			Seq: seq*seq + 100, Conv: uint32(seq % 3), Time: 1_700_000_000_000 + int64(seq), Meta: []byte{byte(seq)}, Body: text,
		})
	}
	noise := make([]byte, 600)
	fill(noise, 1)
	m.add(godwit.NewLogID(2, 6), 0, godwit.Record{Seq: 1, Conv: 1, Time: 5, Body: noise}, godwit.Record{Seq: 2, Conv: 1, Prev: 1, Time: 4})
	m[godwit.NewLogID(3, 1)] = &run{older: 4, head: 1 << 39}
	return m
}

// A file written by the first release of this version must be read for ever.
func TestVersion1IsStillRead(t *testing.T) {
	path := filepath.Join("testdata", FileName(1))
	cfg := Config{FS: vfs.Default, Dir: "testdata", BlockBytes: 1000, Codec: CodecZstd}
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		_ = os.Remove(path) // the test fails if a file is in the way
		_, err := goldenModel().write(cfg, testMeta(1, 5, 6))
		must(t, err)
	}
	made, err := ReadMeta(cfg.FS, path)
	must(t, err)
	r, err := Open(cfg, made, nil)
	must(t, err)
	defer r.Release()
	must(t, goldenModel().check(r))
	must(t, r.Verify(context.Background(), 0))
	codecs := map[Codec]bool{}
	data := readFile(t, cfg.FS, path)
	for i := range r.index.len() {
		codecs[Codec(data[r.index.offset(i)+4])] = true
	}
	if len(codecs) != 2 {
		t.Errorf("the file shows codecs %v only", codecs)
	}
}
