package ws

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// The window sizes that RFC 7692 section 7.1.2 lets peers agree on, as powers of two.
const (
	WindowBitsMin = 8
	WindowBitsMax = 15
)

// Deflater compresses messages for connections that agreed on permessage-deflate
// with server_no_context_takeover: each message stands for itself, so one
// compressed frame serves any number of connections. For concurrent use; what a
// message needs to be compressed is borrowed for the call.
type Deflater struct {
	minBytes, level int
	pools           [WindowBitsMax + 1]sync.Pool // of *deflating, by window
}

// NewDeflater makes a Deflater of a level from 1 (fast) to 9 (small). Messages
// below minBytes are not worth it.
func NewDeflater(minBytes, level int) *Deflater {
	if level < 1 || level > 9 {
		panic("BUG: no such compression level")
	}
	return &Deflater{minBytes: minBytes, level: level}
}

// deflating is what compressing a message takes.
type deflating struct {
	writer *flate.Writer
	out    []byte
}

// Write collects what the compressor made.
func (d *deflating) Write(b []byte) (int, error) {
	d.out = append(d.out, b...)
	return len(b), nil
}

// deflatingKeepBytes is how large an output may be kept for the next message.
const deflatingKeepBytes = 256 << 10

// AppendFrame appends a message as one unmasked frame: compressed for a peer
// whose window has 1<<windowBits bytes, or as it is if that is not longer (RFC
// 7692 sections 6.1 and 7.2.1).
func (d *Deflater) AppendFrame(dst []byte, op Opcode, payload []byte, windowBits int) []byte {
	if len(payload) < d.minBytes || len(payload) == 0 {
		return AppendFrame(dst, op, payload)
	}
	w := d.borrow(windowBits)
	w.out = w.out[:0]
	w.writer.Reset(w)
	_, err := w.writer.Write(payload)
	if err == nil {
		err = w.writer.Flush()
	}
	size := len(w.out) - len(syncTail)
	if err != nil || string(w.out[max(size, 0):]) != string(syncTail) {
		panic("BUG: a flushed DEFLATE stream does not end in an empty stored block")
	}
	if size < len(payload) {
		start := len(dst)
		dst = append(AppendHeader(dst, true, op, size), w.out[:size]...)
		dst[start] |= deflateBit
	} else {
		dst = AppendFrame(dst, op, payload)
	}
	if cap(w.out) <= deflatingKeepBytes {
		d.pools[windowBits].Put(w)
	}
	return dst
}

func (d *Deflater) borrow(windowBits int) *deflating {
	if w, ok := d.pools[windowBits].Get().(*deflating); ok {
		return w
	}
	w := new(deflating)
	var err error
	if windowBits == WindowBitsMax {
		w.writer, err = flate.NewWriter(w, d.level)
	} else {
		w.writer, err = flate.NewWriterWindow(w, 1<<windowBits)
	}
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return w
}
