package segment

import "github.com/cockroachdb/pebble/v2/vfs"

// window reads a file forwards in large reads.
type window struct {
	file   vfs.File
	path   string
	offset int64 // of buf
	end    int64 // nothing is read beyond
	buf    []byte
	read   int64 // bytes read so far, for throttling
}

// window reads the segment up to end.
func (r *Reader) window(end int64) window { return window{file: r.file, path: r.path, end: end} }

// at returns n bytes at offset, valid until the next call.
func (w *window) at(offset int64, n int) ([]byte, error) {
	if from := offset - w.offset; from >= 0 && from+int64(n) <= int64(len(w.buf)) {
		return w.buf[from : from+int64(n)], nil
	}
	ask := int(min(max(int64(n), readBytes), w.end-offset))
	if ask < n {
		return nil, corrupt(w.path, w.end, "the section ends here")
	}
	if cap(w.buf) < ask {
		w.buf = make([]byte, ask)
	}
	w.buf, w.offset = w.buf[:ask], offset
	if err := readAt(w.file, w.path, w.buf, offset); err != nil {
		w.buf = w.buf[:0]
		return nil, err
	}
	w.read += int64(ask)
	return w.buf[:n], nil
}
