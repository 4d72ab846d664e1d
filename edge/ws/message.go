package ws

// bufferMinBytes is the first size of a message's buffer.
const bufferMinBytes = 512

// Message is Next with parts joined: its events are whole messages and control
// frames. A message that lies in the window as one frame aliases the window; any
// other is joined in *buf and aliases that, until the next call.
//
// *buf is the caller's. It must stay with the connection while r.Partial() is
// true, and is free for another connection otherwise, once the event was used:
// a loop lends one spare buffer to every call and gives it away only when a
// connection goes quiet in mid-message. *buf grows with the bytes that arrive,
// never by what a header promises, and not above MessageMaxBytes.
func (r *Reader) Message(cfg *Config, window []byte, buf *[]byte) (ev Event, n, need int, err error) {
	for {
		part, size, need, err := r.Next(cfg, window[n:])
		n += size
		if err != nil || need > 0 {
			return Event{}, n, need, err
		}
		if part.First && part.Last {
			return part, n, 0, nil
		}
		if part.First {
			*buf = (*buf)[:0]
		}
		*buf = appendBounded(*buf, part.Payload, cfg.MessageMaxBytes)
		if part.Last {
			part.First, part.Payload = true, *buf
			return part, n, 0, nil
		}
	}
}

// appendBounded is append whose growth doubles but stops at maxBytes, which
// len(buf)+len(b) never exceeds.
func appendBounded(buf, b []byte, maxBytes int) []byte {
	if size := len(buf) + len(b); size > cap(buf) {
		grown := make([]byte, len(buf), min(max(2*cap(buf), bufferMinBytes, size), maxBytes))
		copy(grown, buf)
		buf = grown
	}
	return append(buf, b...)
}
