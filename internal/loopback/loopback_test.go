package loopback_test

import (
	"net"
	"testing"

	"github.com/godwit-im/godwit/internal/loopback"
)

func TestAFreeAddressCanBeListenedOn(t *testing.T) {
	address, err := loopback.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if ip := listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		t.Errorf("%s can be reached from elsewhere", ip)
	}
}
