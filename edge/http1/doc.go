// Package http1 reads one HTTP/1.1 request head from a window of bytes, in
// place and strictly, and checks and answers the WebSocket upgrade of RFC 6455
// section 4. It is for the first bytes of a connection, which decide where it
// goes: to a WebSocket session, to a held poll, or to a full HTTP server that
// gets the bytes replayed.
//
// Strictly means that a head has one reading only: what another parser might
// read differently (obsolete folding, bare LF, two lengths, a path with a second
// spelling) is refused here, so that a check made on this parse holds for the
// server behind it.
//
// The package refuses to know sockets, request bodies, routing, users and
// clocks. It never blocks and, once a Request exists, never allocates.
package http1
