// Package e2e holds the tests that start the real binary, talk to it over real
// sockets and kill it. It knows the public protocol and the command line, and
// refuses to know anything inside the server.
package e2e
