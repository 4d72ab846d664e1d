package ws

import "unsafe"

// bufferMinBytes is the first size of a message's buffer.
const bufferMinBytes = 512

// Buffer is where Reader.Message joins the parts of a message and inflates
// them. The zero value is ready and holds nothing; a compressed message makes
// an inflater of about 4 KB, which stays for the next one.
type Buffer struct {
	bytes    []byte
	inflater *inflater
}

// Lend gives the message under way a Buffer of its own, to stay with its
// connection until it has ended; b is free for other connections again.
func (b *Buffer) Lend(r *Reader) *Buffer {
	lent := &Buffer{bytes: b.bytes}
	b.bytes = nil
	if r.flags&deflatedFlag != 0 {
		lent.inflater, b.inflater = b.inflater, nil
	}
	return lent
}

// Size is about what b holds, in bytes.
func (b *Buffer) Size() int {
	size := cap(b.bytes)
	if b.inflater != nil {
		size += int(unsafe.Sizeof(*b.inflater))
	}
	return size
}

// Reclaim takes back what Lend gave, whatever b has no better of itself; bytes
// over keepMaxBytes are let go of.
func (b *Buffer) Reclaim(lent *Buffer, keepMaxBytes int) {
	if cap(lent.bytes) > cap(b.bytes) && cap(lent.bytes) <= keepMaxBytes {
		b.bytes = lent.bytes
	}
	if b.inflater == nil {
		b.inflater = lent.inflater
	}
	*lent = Buffer{}
}

// Trim lets go of the bytes if they are more than keepMaxBytes, as after an
// exceptionally large message.
func (b *Buffer) Trim(keepMaxBytes int) {
	if cap(b.bytes) > keepMaxBytes {
		b.bytes = nil
	}
}

// Message is Next with parts joined and inflated: its events are whole messages
// and control frames. A message that lies in the window as one uncompressed
// frame aliases the window; any other is made in buf and aliases that, until the
// next call.
//
// buf is the caller's. It must stay with the connection while r.Partial() is
// true, and is free for another connection otherwise, once the event was used:
// a loop shows one Buffer to every call and lends from it only when a connection
// goes quiet in mid-message. Its bytes grow with what arrives or is inflated,
// never by what a header promises, and not above MessageMaxBytes.
func (r *Reader) Message(cfg *Config, window []byte, buf *Buffer) (ev Event, n, need int, err error) {
	for {
		part, size, need, err := r.Next(cfg, window[n:])
		n += size
		if err != nil || need > 0 {
			return Event{}, n, need, err
		}
		if part.First && part.Last && !part.Deflated {
			return part, n, 0, nil
		}
		if part.First {
			buf.bytes = buf.bytes[:0]
		}
		if !part.Deflated {
			buf.bytes = append(room(buf.bytes, len(part.Payload), cfg.MessageMaxBytes), part.Payload...)
		} else if err = buf.inflate(cfg, part); err != nil {
			r.flags |= doneFlag
			return Event{}, n, 0, err
		}
		if part.Last {
			part.First, part.Deflated, part.Payload = true, false, buf.bytes
			return part, n, 0, nil
		}
	}
}

// inflate adds a part of a compressed message (RFC 7692 section 7.2.2). Text is
// checked as it comes out, so that wrong UTF-8 ends the connection before the
// message is whole (RFC 6455 section 8.1).
func (b *Buffer) inflate(cfg *Config, part Event) error {
	if b.inflater == nil {
		b.inflater = new(inflater)
	}
	f := b.inflater
	if part.First {
		f.reset()
	}
	seen := len(b.bytes)
	out, err := f.push(b.bytes, part.Payload, cfg.MessageMaxBytes)
	if err == nil && part.Last {
		if out, err = f.push(out, syncTail, cfg.MessageMaxBytes); err == nil && !f.ended() {
			err = ErrDeflate
		}
	}
	b.bytes = out
	if part.Op == Text && (!f.text.add(out[seen:]) || err == nil && part.Last && !f.text.whole()) {
		return ErrText
	}
	return err
}

// room returns buf with room for n bytes. Growth doubles but stops at maxBytes,
// which len(buf)+n never exceeds.
func room(buf []byte, n, maxBytes int) []byte {
	if cap(buf)-len(buf) >= n {
		return buf
	}
	return grow(buf, n, maxBytes)
}

func grow(buf []byte, n, maxBytes int) []byte {
	grown := make([]byte, len(buf), min(max(2*cap(buf), bufferMinBytes, len(buf)+n), maxBytes))
	copy(grown, buf)
	return grown
}
