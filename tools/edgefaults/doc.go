// Command edgefaults runs a cluster of processes (an engine, edges, a directory)
// under a crowd of real clients, breaks one thing after the other, and looks at
// what the clients got. On Linux:
//
//	go run ./tools/edgefaults -quick -json
//
// Every user writes to his partner, and each message is numbered. Whatever was
// acknowledged must come to both exactly once and in order, whichever process was
// killed and whatever the directory did meanwhile.
//
//	options    the flags
//	process    a child that dies with this program, however that ends
//	cluster    which processes there are, how they are started and asked
//	fleet      the clients: the Go SDK, thousands in this process
//	checker    what was promised, what came
//	faults     the campaign: one fault after the other
//	report     what came of it
//
// It refuses to know anything inside the server: it uses the binary's command line,
// its ops address and the SDK, and counts the directory's operations where they
// arrive.
package main
