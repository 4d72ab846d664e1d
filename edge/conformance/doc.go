// Package conformance holds the 517 cases of the Autobahn fuzzing client, rewritten
// from its public list against RFC 6455 and RFC 7692 and numbered as there. They
// run as tests, over a socket, against the echo endpoint of package edge.
//
// The peer in it has its own frame codec and the standard library's DEFLATE, so
// that it shares no mistake with the server; it refuses to know anything of ours
// but the address.
package conformance
