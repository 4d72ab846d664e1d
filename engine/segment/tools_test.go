package segment

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

func TestDumpShowsHeaderBlocksAndALog(t *testing.T) {
	cfg := testConfig(t)
	m := model{}
	log := godwit.NewLogID(3, 42)
	var records []godwit.Record
	for seq := range godwit.Seq(20) {
		records = append(records, godwit.Record{Seq: seq + 7, Conv: 2, Time: 1_700_000_000_000 + int64(seq), Meta: []byte{1}, Body: []byte(fmt.Sprintf("text %d, and some more of it to fill blocks", seq))})
	}
	m.add(log, 4, records...)
	r := m.mustOpen(t, cfg, testMeta(9, 5, 6), nil)
	defer r.Release()
	var out bytes.Buffer
	must(t, Dump(&out, r, DumpOptions{Blocks: true, HasLog: true, Log: log, Bodies: true}))
	for _, want := range []string{
		"segment     9,", "generations 5 to 6", "entries     20 in 1 logs from 3/42 to 3/42",
		"block 0 at 64:", "block 1 at ", "(continued: true)",
		"log 3/42: sequences 7 to 26, older generation 4", "  7: conversation 2", "  26: conversation 2", `"text 19, and`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the dump lacks %q:\n%s", want, out.String())
		}
	}
	copied := testDir + "/copy"
	writeFile(t, cfg.FS, copied, readFile(t, cfg.FS, r.path))
	other, err := OpenFile(cfg.FS, copied)
	must(t, err)
	must(t, m.check(other))
	must(t, other.Release())
	out.Reset()
	must(t, Dump(&out, r, DumpOptions{HasLog: true, Log: 1}))
	if !strings.Contains(out.String(), "is not here") || strings.Contains(out.String(), "block 0") {
		t.Errorf("unexpected:\n%s", out.String())
	}
}

func TestCheckFindsAFilterOfOtherLogs(t *testing.T) {
	cfg, _, _, data := smallSegment(t, CodecZstd)
	foot, err := parseFooter(data[len(data)-footerBytes:], int64(len(data)))
	must(t, err)
	clear(data[foot.bloomOffset:foot.indexOffset])
	resign(data, foot)
	path := cfg.FS.PathJoin(testDir, FileName(1))
	writeFile(t, cfg.FS, path, data)
	problems, err := Check(cfg.FS, path)
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0], "bloom filter does not know") {
		t.Errorf("%v %v", problems, err)
	}
}

func TestCheckNeedsAFile(t *testing.T) {
	cfg := testConfig(t)
	if problems, err := Check(cfg.FS, testDir+"/none.seg"); err == nil {
		t.Errorf("a missing file has %v", problems)
	}
	path := testDir + "/empty.seg"
	writeFile(t, cfg.FS, path, nil)
	if problems, err := Check(cfg.FS, path); err != nil || len(problems) != 1 {
		t.Errorf("an empty file: %v %v", problems, err)
	}
}

// resign makes all checksums right again after a change of the sections.
func resign(data []byte, foot footer) {
	end := len(data) - footerBytes
	foot.bloomSum = crc(data[foot.bloomOffset:foot.indexOffset])
	foot.indexSum = crc(data[foot.indexOffset:end])
	foot.meta.SHA256 = sha(data[:end])
	copy(data[end:], foot.appendTo(nil))
}
