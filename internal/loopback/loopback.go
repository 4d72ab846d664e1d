// Package loopback finds addresses on which tests can have servers listen that they
// start later.
//
// It refuses to know what listens there.
package loopback

import (
	"fmt"
	"net"
	"os"
)

// FreeAddress returns a HOST:PORT on which nobody listens. The host is a loopback
// address that no other process uses, where the system has more than one (Linux), so
// the port is free a while later, too; else it is 127.0.0.1. It may be called from any
// goroutine.
func FreeAddress() (string, error) {
	pid := os.Getpid()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 64|pid>>16&63, pid>>8&255, pid&255))
	if err != nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}
