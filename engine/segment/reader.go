package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/godwit-im/godwit"
)

// Reader answers from one segment; all methods are safe for concurrent use while
// the caller holds a reference. It keeps block index and bloom filter in memory.
type Reader struct {
	fs     vfs.FS
	path   string
	file   vfs.File
	meta   Meta
	foot   footer
	origin uint64 // the id the file was written under; a copy may have another name
	index  index
	filter bloom
	cache  *Cache // nil: every block is read anew
	number uint64 // of this reader in the cache

	references atomic.Int64
	obsolete   atomic.Bool
}

// ReadMeta returns what a file says about itself, for tools without a manifest.
func ReadMeta(fs vfs.FS, path string) (Meta, error) {
	file, err := fs.Open(path)
	if err != nil {
		return Meta{}, fmt.Errorf("open segment: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Meta{}, fmt.Errorf("open segment %s: %w", path, err)
	}
	f, err := readFooter(file, path, info.Size())
	return f.meta, err
}

// Open reads footer, index and filter of the segment m describes, and holds them
// against m. Only m.ID may differ from the file's: a copied file keeps its inside.
// The Reader has one reference. cache may be nil.
func Open(cfg Config, m Meta, cache *Cache) (*Reader, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return open(cfg.FS, cfg.FS.PathJoin(cfg.Dir, FileName(m.ID)), m, cache)
}

func open(fs vfs.FS, path string, m Meta, cache *Cache) (*Reader, error) {
	file, err := fs.Open(path, vfs.RandomReadsOption)
	if err != nil {
		return nil, fmt.Errorf("open segment %d: %w", m.ID, err)
	}
	r := &Reader{fs: fs, path: path, file: file, meta: m, cache: cache}
	if err := r.load(); err != nil {
		_ = file.Close()
		return nil, err
	}
	if cache != nil {
		r.number = cache.readers.Add(1)
	}
	r.references.Store(1)
	return r, nil
}

func (r *Reader) load() error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("open segment %s: %w", r.path, err)
	}
	if info.Size() != r.meta.SizeBytes {
		return r.corrupt(info.Size(), fmt.Sprintf("the file has %d bytes, the manifest says %d", info.Size(), r.meta.SizeBytes))
	}
	if r.foot, err = readFooter(r.file, r.path, r.meta.SizeBytes); err != nil {
		return err
	}
	r.origin = r.foot.meta.ID
	own := r.foot.meta
	if own.ID = r.meta.ID; own != r.meta {
		return r.corrupt(r.meta.SizeBytes-footerBytes, "the footer is of another segment than the manifest's")
	}
	var header [headerBytes]byte
	if err := readAt(r.file, r.path, header[:], 0); err != nil {
		return err
	}
	if err := checkHeader(header[:], &r.foot.meta); err != nil {
		return r.wrap(0, err)
	}
	tail := make([]byte, r.meta.SizeBytes-footerBytes-r.foot.bloomOffset)
	if err := readAt(r.file, r.path, tail, r.foot.bloomOffset); err != nil {
		return err
	}
	filterBytes := r.foot.indexOffset - r.foot.bloomOffset
	r.filter = append(bloom(nil), tail[:filterBytes]...)
	if crc32.Checksum(r.filter, castagnoli) != r.foot.bloomSum {
		return r.corrupt(r.foot.bloomOffset, "the bloom filter's checksum is wrong")
	}
	if crc32.Checksum(tail[filterBytes:], castagnoli) != r.foot.indexSum {
		return r.corrupt(r.foot.indexOffset, "the index's checksum is wrong")
	}
	if r.index, err = parseIndex(tail[filterBytes:], r.foot.blocks, r.foot.directoryOffset); err != nil {
		return r.wrap(r.foot.indexOffset, err)
	}
	return nil
}

func readFooter(file vfs.File, path string, sizeBytes int64) (footer, error) {
	if sizeBytes < headerBytes+footerBytes {
		return footer{}, corrupt(path, sizeBytes, "the file is too short for a segment")
	}
	var b [footerBytes]byte
	if err := readAt(file, path, b[:], sizeBytes-footerBytes); err != nil {
		return footer{}, err
	}
	f, err := parseFooter(b[:], sizeBytes)
	if err != nil {
		return footer{}, wrapAt(path, sizeBytes-footerBytes, err)
	}
	return f, nil
}

// readAt fills b or says why not: a file that ends too early is corrupt.
func readAt(file vfs.File, path string, b []byte, offset int64) error {
	n, err := file.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return corrupt(path, offset+int64(n), "the file ends here")
	}
	return fmt.Errorf("read segment %s at %d: %w", path, offset, err)
}

// wrap gives what a parser said its place.
func (r *Reader) wrap(offset int64, err error) error { return wrapAt(r.path, offset, err) }

func wrapAt(path string, offset int64, err error) error {
	var bad errBlock
	if errors.As(err, &bad) {
		return corrupt(path, offset, string(bad))
	}
	return fmt.Errorf("segment file %s, byte %d: %w", path, offset, err)
}

func (r *Reader) corrupt(offset int64, cause string) error { return corrupt(r.path, offset, cause) }

// Meta returns what the manifest says; not to be changed.
func (r *Reader) Meta() *Meta { return &r.meta }

// MemoryBytes is what the Reader holds for itself, cached blocks aside.
func (r *Reader) MemoryBytes() int64 {
	return int64(cap(r.filter)) + int64(cap(r.index.logs))*indexBytesPerBlock + 1024
}

// MayContain is false if no entry of log stands here, and almost only then.
func (r *Reader) MayContain(log godwit.LogID) bool {
	return log >= r.meta.FirstLog && log <= r.meta.LastLog && r.filter.mayContain(log)
}

// Heads streams the directory: every log with its newest sequence, ascending.
func (r *Reader) Heads(fn func(log godwit.LogID, seq godwit.Seq) error) error {
	h := newHeadReader(r)
	for {
		log, seq, ok, err := h.next()
		if err != nil || !ok {
			return err
		}
		if err := fn(log, seq); err != nil {
			return err
		}
	}
}

// diskBuffers are for blocks as they lie on disk, which live for one call.
var diskBuffers = sync.Pool{New: func() any { return new([]byte) }}

// block returns block i decompressed. Nobody may change it.
func (r *Reader) block(i int) ([]byte, error) {
	if r.cache != nil {
		if raw, ok := r.cache.get(r.number, i); ok {
			return raw, nil
		}
	}
	buf := diskBuffers.Get().(*[]byte)
	defer diskBuffers.Put(buf)
	offset, n := r.index.span(i)
	if cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b := (*buf)[:n]
	if err := readAt(r.file, r.path, b, offset); err != nil {
		return nil, err
	}
	raw, err := openBlock(nil, b, r.origin, offset, r.foot.rawMax)
	if err != nil {
		return nil, r.wrap(offset, err)
	}
	if r.cache != nil {
		r.cache.add(r.number, i, raw)
	}
	return raw, nil
}

// Acquire adds a reference. The caller holds one, or a lock that keeps the last
// one from being released.
func (r *Reader) Acquire() {
	if r.references.Add(1) < 2 {
		panic("BUG: segment: Acquire after the last Release")
	}
}

// Obsolete says that no manifest names the segment any more: its file is removed
// with the last reference.
func (r *Reader) Obsolete() { r.obsolete.Store(true) }

// Release gives a reference back. The last one closes the file; an error is about
// that, or about removing it.
func (r *Reader) Release() error {
	left := r.references.Add(-1)
	if left > 0 {
		return nil
	}
	if left < 0 {
		panic("BUG: segment: Release without a reference")
	}
	err := r.file.Close()
	if r.obsolete.Load() {
		err = errors.Join(err, r.fs.Remove(r.path))
	}
	if err != nil {
		return fmt.Errorf("release segment %d: %w", r.meta.ID, err)
	}
	return nil
}
