package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
)

// ports are those that freePort has given, so that none is given twice.
var ports struct {
	sync.Mutex
	given map[int]bool
}

// portsBefore is below what the system gives to those who ask for any port, and to
// clients: a server that is started again finds its port as it left it.
func portsBefore() (most int) {
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(b), &most)
	}
	return most
}

const portsFirst = 12_000

// freePort returns an address of this machine with a port that nobody has, on any
// of its addresses.
func freePort(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	before := portsBefore()
	for range 1000 {
		port := 0 // the system's choice
		if before > 2*portsFirst {
			port = portsFirst + rand.IntN(before-portsFirst)
		}
		l, err := net.Listen("tcp4", fmt.Sprint("0.0.0.0:", port))
		if err != nil {
			continue
		}
		port = l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if !ports.given[port] {
			ports.given[port] = true
			return fmt.Sprint("127.0.0.1:", port)
		}
	}
	t.Fatal("no port is free")
	return ""
}
