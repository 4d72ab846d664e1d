package edge

import (
	"sync"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// codec is scratch for encoding: a godwit message, then that in a WebSocket
// frame. What its methods return dies with the next call.
type codec struct {
	deflater        *ws.Deflater // nil: nothing is compressed
	message, framed []byte
	marks           []mark // of the entries of a fetch
}

// mark is where an entry's frame ends within the frames of its fetch.
type mark struct {
	seq, to godwit.Seq
	end     int
}

func opcode(enc godwit.Encoding) ws.Opcode {
	if enc.Text() {
		return ws.Text
	}
	return ws.Binary
}

// appendFrame adds a server frame as a whole WebSocket frame.
func (c *codec) appendFrame(dst []byte, to form, f *godwit.ServerFrame) []byte {
	c.message = f.AppendFrameTo(c.message[:0], to.encoding())
	return c.frame(dst, to)
}

// appendEvent adds an entry's ev or skip frame as a whole WebSocket frame.
func (c *codec) appendEvent(dst []byte, to form, e *godwit.Entry) []byte {
	c.message = godwit.AppendEventFrame(c.message[:0], to.encoding(), e)
	return c.frame(dst, to)
}

func (c *codec) frame(dst []byte, to form) []byte {
	if to&formDeflate != 0 && c.deflater != nil {
		return c.deflater.AppendFrame(dst, opcode(to.encoding()), c.message, ws.WindowBitsMax)
	}
	return ws.AppendFrame(dst, opcode(to.encoding()), c.message)
}

const codecKeepBytes = 1 << 20

// codecs lends a codec to each call from another goroutine.
type codecs struct {
	deflater *ws.Deflater
	pool     sync.Pool
}

func (cs *codecs) get() *codec {
	if c, ok := cs.pool.Get().(*codec); ok {
		return c
	}
	return &codec{deflater: cs.deflater}
}

func (cs *codecs) put(c *codec) {
	if cap(c.message) <= codecKeepBytes && cap(c.framed) <= codecKeepBytes {
		cs.pool.Put(c)
	}
}

// last returns the last sequence an entry stands for.
func last(e *godwit.Entry) godwit.Seq {
	if e.IsSkip() {
		return e.SkipTo
	}
	return e.Seq
}
