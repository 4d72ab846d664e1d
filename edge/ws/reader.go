package ws

import (
	"errors"
	"math"
	"unicode/utf8"
)

// Config says what a Reader accepts. One value serves all connections of a
// listener; it must not change while they are open.
type Config struct {
	// Client is set where we are the client, whose frames come unmasked.
	Client bool
	// Deflate is set on connections that agreed on permessage-deflate with
	// client_no_context_takeover (RFC 7692): a message may come compressed.
	Deflate bool
	// MessageMaxBytes bounds the payload of a message, all fragments summed; it
	// is checked from the header on, before the payload arrives. Of a compressed
	// message it bounds what is inflated, and the payload to a little more.
	MessageMaxBytes int
	// FragmentsMax bounds the frames of one message, because empty fragments
	// cost work without counting as bytes.
	FragmentsMax int
}

// frameSumMax is how much the frames of one message may hold: data that does not
// compress grows by 5 bytes for each stored block.
func (c *Config) frameSumMax(isDeflated bool) uint64 {
	if isDeflated {
		return uint64(c.MessageMaxBytes) + uint64(c.MessageMaxBytes)/1024 + 64
	}
	return uint64(c.MessageMaxBytes)
}

// Validate reports limits that a Reader cannot keep.
func (c *Config) Validate() error {
	if c.MessageMaxBytes < 1 || c.MessageMaxBytes > math.MaxInt32 {
		return errors.New("ws: MessageMaxBytes must be between 1 and 2147483647")
	}
	if c.FragmentsMax < 1 || c.FragmentsMax > math.MaxInt32 {
		return errors.New("ws: FragmentsMax must be between 1 and 2147483647")
	}
	return nil
}

// Event is what a Reader saw: a part of a message, or a control frame, which
// may stand between two parts of one message. The payload is unmasked and
// aliases the window: it dies with it.
type Event struct {
	Payload []byte    // of Close: the reason, valid UTF-8
	Code    CloseCode // of Close: CodeNoStatus if the frame was empty
	Op      Opcode    // Text, Binary, Close, Ping or Pong
	First   bool      // the part begins its message; true for control frames
	Last    bool      // the part ends its message; true for control frames
	// Deflated: the payload is a part of a compressed message as it came. Only
	// Next says so, which checks no text then; Message inflates.
	Deflated bool
}

// Reader is the parse state of one connection. The zero value is ready. It is
// kept small because every idle connection has one; not for concurrent use.
type Reader struct {
	// left counts the payload bytes of the data frame under way that have not
	// been handed on; 0: the next byte begins a header.
	left uint32
	// size sums the lengths announced by the frames of the message under way;
	// size <= frameSumMax.
	size      uint32
	fragments uint32 // frames of the message under way; <= FragmentsMax
	key       uint32 // for the next payload byte of the frame under way
	text      textState
	op        Opcode // of the message under way; 0: between messages
	flags     flags
}

type flags uint8

const (
	finFlag      flags = 1 << iota // the frame under way is the last of its message
	begunFlag                      // a part of the message under way has been handed on
	deflatedFlag                   // the message under way is compressed
	doneFlag                       // a close frame or an error was returned
)

// Partial reports whether a message has begun and not ended: only then does a
// connection need the buffer of Message.
func (r *Reader) Partial() bool { return r.op != 0 }

// Next takes the next event from the window, which holds the bytes that have
// arrived and were not yet consumed; payload is unmasked in place, but no byte is
// modified that is not consumed, so the window may be a copy. The first n bytes
// are consumed, also without an event. need > 0 means there is no event
// yet: call again when need bytes follow the consumed ones. It is at most
// HeaderMaxBytes+125, however long the frame, because payload is handed on in
// the parts in which it arrives; only control frames are waited for.
//
// An error is an *Error. After it, and after a close frame, the rest of the
// stream is consumed without being looked at (RFC 6455 sections 1.4, 5.5.1 and
// 7.1.7).
func (r *Reader) Next(cfg *Config, window []byte) (ev Event, n, need int, err error) {
	if r.flags&doneFlag != 0 {
		return Event{}, len(window), 1, nil
	}
	if r.left == 0 {
		h, size, err := parseHeader(window, cfg)
		if err != nil {
			return r.fail(err)
		}
		if size > len(window) {
			return Event{}, 0, size, nil
		}
		if h.op.Control() {
			return r.control(h, window, size)
		}
		if err := r.begin(cfg, h); err != nil {
			return r.fail(err)
		}
		n = size
		if n == len(window) && r.left > 0 {
			return Event{}, n, 1, nil
		}
	}
	if r.left > 0 && len(window) == 0 {
		return Event{}, 0, 1, nil
	}
	ev, err = r.part(window[n:])
	if err != nil {
		return r.fail(err)
	}
	return ev, n + len(ev.Payload), 0, nil
}

func (r *Reader) fail(err error) (Event, int, int, error) {
	r.flags |= doneFlag
	return Event{}, 0, 0, err
}

// begin admits a data frame by its header: the order of fragments (RFC 6455
// section 5.4) and the limits (section 10.4).
func (r *Reader) begin(cfg *Config, h header) error {
	switch {
	case h.op == Continuation && r.op == 0:
		return ErrContinuation
	case h.op != Continuation && r.op != 0:
		return ErrInterleaved
	case h.length > cfg.frameSumMax((h.flags|r.flags)&deflatedFlag != 0)-uint64(r.size):
		return ErrMessageTooBig
	case int(r.fragments) >= cfg.FragmentsMax:
		return ErrFragments
	}
	if h.op != Continuation {
		r.op = h.op
	}
	r.flags |= h.flags
	r.fragments++
	r.size += uint32(h.length)
	r.left = uint32(h.length)
	r.key = h.key
	return nil
}

// part hands on what has arrived of the data frame under way (RFC 6455
// sections 5.3, 5.6 and 8.1).
func (r *Reader) part(b []byte) (Event, error) {
	b = b[:min(len(b), int(r.left)):min(len(b), int(r.left))]
	if r.key != 0 {
		r.key = Mask(r.key, b)
	}
	r.left -= uint32(len(b))
	ev := Event{Payload: b, Op: r.op, First: r.flags&begunFlag == 0, Last: r.flags&finFlag != 0 && r.left == 0, Deflated: r.flags&deflatedFlag != 0}
	if r.op == Text && !ev.Deflated {
		switch {
		case ev.First && ev.Last:
			if !utf8.Valid(b) {
				return Event{}, ErrText
			}
		case !r.text.add(b), ev.Last && !r.text.whole():
			return Event{}, ErrText
		}
	}
	r.flags |= begunFlag
	if ev.Last {
		*r = Reader{}
	}
	return ev, nil
}

// control takes a control frame once it has arrived whole; the message under
// way is untouched (RFC 6455 section 5.5).
func (r *Reader) control(h header, window []byte, size int) (ev Event, n, need int, err error) {
	end := size + int(h.length)
	if len(window) < end {
		return Event{}, 0, end, nil
	}
	ev = Event{Payload: window[size:end:end], Op: h.op, First: true, Last: true}
	if h.key != 0 {
		Mask(h.key, ev.Payload)
	}
	if h.op == Close {
		if ev.Code, ev.Payload, err = parseClose(ev.Payload); err != nil {
			return r.fail(err)
		}
		r.flags |= doneFlag
	}
	return ev, end, 0, nil
}

// parseClose splits the payload of a close frame (RFC 6455 sections 5.5.1, 7.1.5,
// 7.1.6 and 7.4).
func parseClose(b []byte) (CloseCode, []byte, error) {
	switch len(b) {
	case 0:
		return CodeNoStatus, nil, nil
	case 1:
		return 0, nil, ErrClosePayload
	}
	code := CloseCode(b[0])<<8 | CloseCode(b[1])
	if !code.OnWire() {
		return 0, nil, ErrCloseCode
	}
	if !utf8.Valid(b[2:]) {
		return 0, nil, ErrCloseReason
	}
	return code, b[2:], nil
}
