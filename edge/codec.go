package edge

import (
	"sync"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// codec is scratch for encoding: a godwit message, then that in a WebSocket
// frame. What its methods return dies with the next call.
type codec struct {
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
func (c *codec) appendFrame(dst []byte, enc godwit.Encoding, f *godwit.ServerFrame) []byte {
	c.message = f.AppendFrameTo(c.message[:0], enc)
	return ws.AppendFrame(dst, opcode(enc), c.message)
}

// appendEvent adds an entry's ev or skip frame as a whole WebSocket frame.
func (c *codec) appendEvent(dst []byte, enc godwit.Encoding, e *godwit.Entry) []byte {
	c.message = godwit.AppendEventFrame(c.message[:0], enc, e)
	return ws.AppendFrame(dst, opcode(enc), c.message)
}

const codecKeepBytes = 1 << 20

// codecs lends a codec to each call from another goroutine.
type codecs struct{ pool sync.Pool }

func (cs *codecs) get() *codec {
	if c, ok := cs.pool.Get().(*codec); ok {
		return c
	}
	return new(codec)
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
