// Package ws is RFC 6455 as a pure codec over a window of bytes: the caller
// shows a Reader what has arrived and gets events, the number of bytes it may
// discard, and how many bytes the next event needs. Nothing here blocks, so an
// event loop can call it from its read callback.
//
// A connection's state is a Reader of 24 bytes without pointers. Payload is
// unmasked in place and handed on as it arrives, also in the middle of a frame,
// so a large frame is never parsed or copied twice and wrong UTF-8 is refused
// at the first byte that shows it. Reader.Message joins such parts into whole
// messages; a message that lies in the window as one frame is never copied.
//
// The package refuses to know sockets, buffers' origin, goroutines, clocks,
// extensions (all reserved bits are refused) and what messages mean. The
// opening handshake is in package http1.
package ws
