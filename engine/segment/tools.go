package segment

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// OpenFile opens a segment by its path, without a manifest to hold it against and
// without a cache: for tools.
func OpenFile(fs vfs.FS, path string) (*Reader, error) {
	m, err := ReadMeta(fs, path)
	if err != nil {
		return nil, err
	}
	return open(fs, path, m, nil)
}

// DumpOptions says what Dump prints beside header and footer.
type DumpOptions struct {
	Blocks bool         // a line per block
	HasLog bool         // the run of Log with its entries
	Log    godwit.LogID //
	Bodies bool         // and their Metas and Bodies, quoted
}

// Dump prints a segment for humans.
func Dump(w io.Writer, r *Reader, o DumpOptions) error {
	out := bufio.NewWriter(w)
	r.dumpFooter(out)
	if o.Blocks {
		if err := r.dumpBlocks(out); err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	if o.HasLog {
		if err := r.dumpLog(out, o); err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	return out.Flush()
}

func (r *Reader) dumpFooter(w io.Writer) {
	m, f := &r.meta, &r.foot
	fmt.Fprintf(w, "segment     %d, written as %d, format version %d\n", m.ID, r.origin, formatVersion)
	fmt.Fprintf(w, "group       %d, generations %d to %d, tier %d\n", m.Group, m.FirstGeneration, m.LastGeneration, m.Tier)
	fmt.Fprintf(w, "raft        indexes %d to %d\n", m.FirstIndex, m.LastIndex)
	fmt.Fprintf(w, "created     %s\n", stamp(m.Created))
	fmt.Fprintf(w, "entries     %d in %d logs from %s to %s\n", m.Entries, m.Logs, logName(m.FirstLog), logName(m.LastLog))
	fmt.Fprintf(w, "times       %s to %s\n", stamp(m.MinTime), stamp(m.MaxTime))
	fmt.Fprintf(w, "bytes       %d, of which\n", m.SizeBytes)
	fmt.Fprintf(w, "  blocks    %d in %d blocks, %d before compression, the largest %d\n", f.directoryOffset-headerBytes, f.blocks, m.RawBytes, f.rawMax)
	fmt.Fprintf(w, "  directory %d at %d, %d chunks\n", f.bloomOffset-f.directoryOffset, f.directoryOffset, f.chunks)
	fmt.Fprintf(w, "  bloom     %d at %d, CRC %08x\n", f.indexOffset-f.bloomOffset, f.bloomOffset, f.bloomSum)
	fmt.Fprintf(w, "  index     %d at %d, CRC %08x\n", m.SizeBytes-footerBytes-f.indexOffset, f.indexOffset, f.indexSum)
	fmt.Fprintf(w, "memory      %d\n", r.MemoryBytes())
	fmt.Fprintf(w, "sha256      %x\n", m.SHA256)
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

func logName(log godwit.LogID) string {
	return strconv.Itoa(int(log.Partition())) + "/" + strconv.FormatUint(uint64(log)&(1<<48-1), 10)
}

func (r *Reader) dumpBlocks(w io.Writer) error {
	disk := r.window(r.foot.directoryOffset)
	var raw []byte
	var k walker
	var places []place
	for i := range r.index.len() {
		offset, n := r.index.span(i)
		b, err := disk.at(offset, n)
		if err != nil {
			return err
		}
		codec := Codec(b[min(4, len(b)-1)])
		if raw, err = openBlock(raw, b, r.origin, offset, r.foot.rawMax); err == nil {
			err = k.start(raw)
		}
		pieces, entries := 0, 0
		for ok := true; err == nil; {
			if ok, err = k.next(); !ok {
				break
			}
			if places, err = k.places(places); err == nil {
				pieces, entries = pieces+1, entries+len(places)
			}
		}
		if err != nil {
			return r.wrap(offset, err)
		}
		fmt.Fprintf(w, "block %d at %d: %d bytes, %v, %d raw; from log %s sequence %d (continued: %t) to log %s; %d pieces, %d entries\n",
			i, offset, n, codec, len(raw), logName(r.index.log(i)), r.index.seq(i), r.index.continued(i), logName(k.lastLog), pieces, entries)
	}
	return nil
}

func (r *Reader) dumpLog(w io.Writer, o DumpOptions) error {
	var c Cursor
	first, last, older, ok, err := r.Run(&c, o.Log)
	if err != nil {
		return err
	}
	if !ok {
		fmt.Fprintf(w, "log %s is not here\n", logName(o.Log))
		return nil
	}
	fmt.Fprintf(w, "log %s: sequences %d to %d, older generation %d\n", logName(o.Log), first, last, older)
	return r.Ascend(&c, o.Log, 1, func(e *godwit.Record) bool {
		fmt.Fprintf(w, "  %d: conversation %d, prev %d, %s, meta %d bytes, body %d bytes", e.Seq, e.Conv, e.Prev, stamp(e.Time), len(e.Meta), len(e.Body))
		if o.Bodies {
			fmt.Fprintf(w, ", %q %q", e.Meta, e.Body)
		}
		_, err := fmt.Fprintln(w)
		return err == nil
	})
}

// Check reads a whole file without a manifest and says all it finds wrong. err is
// about reading it; a damaged file is a problem, not an error.
func Check(fs vfs.FS, path string) (problems []string, err error) {
	note := func(err error) error {
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
			problems = append(problems, err.Error())
			return nil
		}
		return err
	}
	r, err := OpenFile(fs, path)
	if err != nil {
		return problems, note(err)
	}
	err = note(r.Verify(context.Background(), 0))
	if err == nil && len(problems) == 0 {
		err = note(r.checkContent())
	}
	return problems, errors.Join(err, r.Release())
}

// checkContent compares what the entries say with footer, index and filter.
func (r *Reader) checkContent() error {
	m := &r.meta
	s := r.Scan()
	some, low, high, logs := false, int64(0), int64(0), uint64(0)
	for s.NextRun() {
		if logs++; !r.MayContain(s.log) {
			return r.corrupt(r.foot.bloomOffset, fmt.Sprintf("the bloom filter does not know log %s", logName(s.log)))
		}
		if s.older >= m.FirstGeneration {
			return r.corrupt(r.index.offset(max(0, s.i-1)), fmt.Sprintf("log %s points to generation %d, not before its own", logName(s.log), s.older))
		}
		for s.Next() {
			t := s.record.Time
			if !some {
				low, high, some = t, t, true
			}
			low, high = min(low, t), max(high, t)
		}
	}
	switch {
	case s.Err() != nil:
		return s.Err()
	case low != m.MinTime || high != m.MaxTime:
		return r.corrupt(m.SizeBytes-footerBytes, "the footer's times are not the entries'")
	case logs > 0 && s.log != m.LastLog:
		return r.corrupt(m.SizeBytes-footerBytes, "the footer's last log is not the runs'")
	}
	return nil
}
