// Package ws is RFC 6455, with permessage-deflate (RFC 7692), as a pure codec over
// a window of bytes: the caller shows a Reader what has arrived and gets events,
// the number of bytes it may discard, and how many bytes the next event needs.
// Nothing here blocks, so an event loop can call it from its read callback.
//
// A connection's state is a Reader of 24 bytes without pointers. Payload is
// unmasked in place and handed on as it arrives, also in the middle of a frame,
// so a large frame is never parsed or copied twice and wrong UTF-8 is refused
// at the first byte that shows it. Reader.Message joins such parts into whole
// messages; a message that lies in the window as one plain frame is never copied.
//
// A compressed message is inflated from the parts in which it arrives, into the
// buffer that holds it anyway, so neither compressed bytes nor a window are kept:
// that needs a decoder that can stop anywhere, which is why it is not the one of
// a library. Between messages nothing is remembered (no context takeover), so one
// frame of a Deflater serves any number of connections.
//
// The package refuses to know sockets, buffers' origin, goroutines, clocks, what
// was agreed on (Config says it) and what messages mean. The opening handshake is
// in package http1.
package ws
