package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"github.com/godwit-im/godwit"
)

// Writer makes one segment: Add and AddHead in order, then Finish or Abort.
// One goroutine. Its memory is a block, a write, and the directory: 3–6 bytes a log.
type Writer struct {
	cfg        Config
	path, temp string
	file       vfs.File
	err        error // sticky: the writer is dead

	meta    Meta
	encoder *zstd.Encoder // nil: CodecNone
	block   builder
	raw     []byte // scratch: a block before compression
	index   index
	heads   directory
	rawMax  uint32
	any     bool // an entry was added: the times are set

	// The current log.
	log      godwit.LogID
	hasLog   bool
	older    uint32
	runFirst godwit.Seq // 0: no record yet
	last     godwit.Seq
	head     godwit.Seq
	fresh    bool // no piece of the log in the current block

	buf      []byte // not yet written
	written  int64  // bytes given to the file
	unsynced int
	hash     hash.Hash
}

// Create begins a segment. Of m it takes ID, Group, the generations, Tier, the raft
// indexes and Created. Nothing has the segment's name before Finish.
func Create(cfg Config, m Meta) (*Writer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if m.FirstGeneration == 0 || m.FirstGeneration > m.LastGeneration {
		return nil, fmt.Errorf("create segment %d: %w: generations %d to %d", m.ID, ErrOrder, m.FirstGeneration, m.LastGeneration)
	}
	path := cfg.FS.PathJoin(cfg.Dir, FileName(m.ID))
	if _, err := cfg.FS.Stat(path); err == nil {
		return nil, fmt.Errorf("create segment %d: file %s exists; an id is used once", m.ID, path)
	}
	w := &Writer{cfg: cfg, path: path, temp: path + tempSuffix, hash: sha256.New(), buf: make([]byte, 0, 2*writeBytes)}
	w.meta = Meta{
		ID: m.ID, Group: m.Group, FirstGeneration: m.FirstGeneration, LastGeneration: m.LastGeneration, Tier: m.Tier,
		FirstIndex: m.FirstIndex, LastIndex: m.LastIndex, Created: m.Created,
	}
	var err error
	if w.file, err = cfg.FS.Create(w.temp, vfs.WriteCategoryUnspecified); err != nil {
		return nil, fmt.Errorf("create segment %d: %w", m.ID, err)
	}
	if cfg.Codec == CodecZstd {
		w.encoder = takeEncoder(cfg.Level)
	}
	w.buf = appendHeader(w.buf, &w.meta)
	return w, nil
}

// Add appends an entry and copies its bytes. Logs ascend, sequences ascend within
// a log. older is the generation of the next older segment with entries of log (0:
// none), the same for the whole log.
func (w *Writer) Add(log godwit.LogID, older uint32, r *godwit.Record) error {
	if w.err != nil {
		return w.err
	}
	if n := len(r.Meta) + len(r.Body); n > RecordBytesMax {
		return fmt.Errorf("%w: log %d, sequence %d: %d bytes, %d may be", ErrTooLarge, log, r.Seq, n, RecordBytesMax)
	}
	if err := w.enter(log, older); err != nil {
		return err
	}
	if r.Seq <= w.last || r.Seq > seqMax || r.Prev >= r.Seq {
		return w.fail(fmt.Errorf("%w: log %d: sequence %d (Prev %d) after %d", ErrOrder, log, r.Seq, r.Prev, w.last))
	}
	if w.block.records+w.block.pieces > 0 && w.block.bytes()+len(r.Meta)+len(r.Body)+10 > w.cfg.BlockBytes {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	if w.fresh {
		w.block.begin(log, older, w.runFirst)
		w.fresh = false
	}
	w.block.add(r)
	if w.runFirst == 0 {
		w.runFirst = r.Seq
	}
	if !w.any {
		w.meta.MinTime, w.meta.MaxTime, w.any = r.Time, r.Time, true
	}
	w.meta.MinTime, w.meta.MaxTime = min(w.meta.MinTime, r.Time), max(w.meta.MaxTime, r.Time)
	w.last, w.head = r.Seq, max(w.head, r.Seq)
	w.meta.Entries++
	return nil
}

// AddHead says that log once reached seq. Without entries the log still stands in
// the directory, and its older generation in an empty run; with entries it raises
// the head.
func (w *Writer) AddHead(log godwit.LogID, seq godwit.Seq, older uint32) error {
	if w.err != nil {
		return w.err
	}
	if seq > seqMax {
		return w.fail(fmt.Errorf("%w: log %d: head %d", ErrOrder, log, seq))
	}
	if err := w.enter(log, older); err != nil {
		return err
	}
	w.head = max(w.head, seq)
	return nil
}

// enter makes log the current one.
func (w *Writer) enter(log godwit.LogID, older uint32) error {
	if w.hasLog && log == w.log {
		if older != w.older {
			return w.fail(fmt.Errorf("%w: log %d: older generation %d, then %d", ErrOrder, log, w.older, older))
		}
		return nil
	}
	if w.hasLog && log < w.log {
		return w.fail(fmt.Errorf("%w: log %d after %d", ErrOrder, log, w.log))
	}
	if older >= w.meta.FirstGeneration {
		return w.fail(fmt.Errorf("%w: log %d: older generation %d in a segment from %d", ErrOrder, log, older, w.meta.FirstGeneration))
	}
	if err := w.endLog(); err != nil {
		return err
	}
	if w.meta.Logs == 0 {
		w.meta.FirstLog = log
	}
	w.meta.LastLog = log
	w.meta.Logs++
	w.log, w.hasLog, w.older, w.runFirst, w.last, w.head, w.fresh = log, true, older, 0, 0, 0, true
	return nil
}

// endLog closes the run of the current log.
func (w *Writer) endLog() error {
	if !w.hasLog {
		return nil
	}
	if w.runFirst == 0 {
		w.block.begin(w.log, w.older, 0)
	}
	w.block.end()
	w.heads.add(w.log, w.head)
	// A block nearly full ends between two logs: then most runs lie in one block.
	if w.block.bytes() >= w.cfg.BlockBytes-w.cfg.BlockBytes/4 {
		return w.endBlock()
	}
	return nil
}

// endBlock compresses the block and appends it to the file.
func (w *Writer) endBlock() error {
	w.block.end()
	if w.block.pieces == 0 {
		return nil
	}
	offset := w.offset()
	if offset > offsetMax {
		return w.fail(fmt.Errorf("%w: the segment itself: %d bytes", ErrTooLarge, offset))
	}
	raw, bodiesAt := w.block.appendTo(w.raw[:0])
	w.raw = raw
	w.index.add(w.block.firstLog, w.block.firstSeq, w.block.continues, offset)
	w.rawMax = max(w.rawMax, uint32(len(w.raw)))
	w.meta.RawBytes += int64(len(w.raw))
	w.buf = sealBlock(w.buf, w.meta.ID, offset, raw, bodiesAt, w.encoder)
	w.block.reset()
	w.fresh = true
	// A segment is made beside commits, which need a few microseconds of a
	// processor very often; the scheduler would let them wait for 10 ms.
	runtime.Gosched()
	return w.flush(writeBytes)
}

// offset is where the next byte goes.
func (w *Writer) offset() int64 { return w.written + int64(len(w.buf)) }

// flush writes what is buffered if it is at least this much, and bounds the bytes
// that wait for the disk.
func (w *Writer) flush(least int) error {
	if len(w.buf) < least || len(w.buf) == 0 {
		return nil
	}
	w.hash.Write(w.buf) // before the write: a vfs.File may change the slice
	n := len(w.buf)
	if _, err := w.file.Write(w.buf); err != nil {
		return w.fail(fmt.Errorf("write segment %d: %w", w.meta.ID, err))
	}
	w.buf = w.buf[:0]
	w.written += int64(n)
	if w.unsynced += n; w.unsynced >= w.cfg.SyncBytes {
		w.unsynced = 0
		if err := w.file.SyncData(); err != nil {
			return w.fail(fmt.Errorf("sync segment %d: %w", w.meta.ID, err))
		}
	}
	return nil
}

// Finish writes the rest, syncs the file, gives it its name and syncs the folder.
// After an error nothing has the name.
func (w *Writer) Finish() (Meta, error) {
	if w.err != nil {
		return Meta{}, w.err
	}
	if err := w.finish(); err != nil {
		w.err = err
		w.Abort()
		return Meta{}, err
	}
	w.close()
	w.err = ErrClosed
	return w.meta, nil
}

func (w *Writer) finish() error {
	if err := errors.Join(w.endLog(), w.endBlock()); err != nil {
		return err
	}
	f := footer{directoryOffset: w.offset(), blocks: uint64(w.index.len()), rawMax: w.rawMax}
	w.index.end = f.directoryOffset
	w.heads.endChunk()
	f.chunks = uint32(len(w.heads.full))
	for _, payload := range w.heads.full {
		w.buf = appendChunk(w.buf, w.meta.ID, w.offset(), payload)
		if err := w.flush(writeBytes); err != nil {
			return err
		}
	}
	f.bloomOffset = w.offset()
	filter := w.filter()
	f.bloomSum = crc32.Checksum(filter, castagnoli)
	if err := w.append(filter); err != nil {
		return err
	}
	f.indexOffset = w.offset()
	section := w.index.appendTo(nil)
	f.indexSum = crc32.Checksum(section, castagnoli)
	if err := w.append(section); err != nil {
		return err
	}
	if err := w.flush(0); err != nil {
		return err
	}
	w.meta.SizeBytes = w.written + footerBytes
	w.hash.Sum(w.meta.SHA256[:0])
	f.meta = w.meta
	w.buf = f.appendTo(w.buf)
	if err := w.flush(0); err != nil {
		return err
	}
	return w.publish()
}

// append adds a long section in pieces, so that no write is huge.
func (w *Writer) append(section []byte) error {
	for len(section) > 0 {
		n := min(len(section), writeBytes)
		w.buf = append(w.buf, section[:n]...)
		if section = section[n:]; w.flush(writeBytes) != nil {
			return w.err
		}
	}
	return nil
}

// filter makes the bloom filter from the directory.
func (w *Writer) filter() bloom {
	filter := make(bloom, bloomBytes(w.meta.Logs))
	for _, payload := range w.heads.full {
		c, err := startChunk(payload, 0, false)
		if err != nil {
			panic("BUG: segment: unreadable directory chunk: " + err.Error())
		}
		for c.left > 0 {
			log, _, err := c.next()
			if err != nil {
				panic("BUG: segment: unreadable directory chunk: " + err.Error())
			}
			filter.add(log)
		}
	}
	return filter
}

// publish makes the whole file durable under its name.
func (w *Writer) publish() error {
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync segment %d: %w", w.meta.ID, err)
	}
	err := w.file.Close()
	if w.file = nil; err != nil {
		return fmt.Errorf("close segment %d: %w", w.meta.ID, err)
	}
	if err := w.cfg.FS.Rename(w.temp, w.path); err != nil {
		return fmt.Errorf("name segment %d: %w", w.meta.ID, err)
	}
	if err := syncDir(w.cfg.FS, w.cfg.Dir); err != nil {
		_ = w.cfg.FS.Remove(w.path) // the name may not last; the caller gets the cause
		return fmt.Errorf("sync the folder of segment %d: %w", w.meta.ID, err)
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Abort gives the segment up and removes the file. After Finish it does nothing.
func (w *Writer) Abort() {
	if errors.Is(w.err, ErrClosed) {
		return
	}
	w.close()
	_ = w.cfg.FS.Remove(w.temp) // a leftover is known by its name and removed at the next start
	w.err = ErrClosed
}

// fail makes the writer dead.
func (w *Writer) fail(err error) error {
	w.err = err
	return err
}

func (w *Writer) close() {
	if w.file != nil {
		_ = w.file.Close() // what counts was synced before
		w.file = nil
	}
	if w.encoder != nil {
		giveEncoder(w.cfg.Level, w.encoder)
		w.encoder = nil
	}
	w.buf, w.raw, w.block, w.heads, w.index = nil, nil, builder{}, directory{}, index{}
}
