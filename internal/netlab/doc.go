// Package netlab makes hosts out of network namespaces, joined by a bridge, for tests
// of several machines on one: links are cut and healed, and packets of one direction
// vanish. It needs Linux, root and the program ip (Debian: iproute2).
//
// The namespaces have no names: they belong to threads and child processes of this
// process, so that nothing is left of them when it ends, however it ends. The bridge
// lies in the namespace of the process itself, which ought to be a fresh one: start
// the process with Private.
//
// It refuses to know what runs on the hosts.
package netlab
