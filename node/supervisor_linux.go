package node

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// tie makes a process die with this one. It gets a process group of its own: ctrl-C
// in a terminal is for this process alone, which then ends the others in order.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

const soReusePort = 15 // SO_REUSEPORT; package syscall has no name for it

// reservePort finds out whether an address is free, and holds its port with a
// socket that is bound and does not listen: edge processes may share it, from the
// first to the last, and no stranger gets it while one of them starts again.
func reservePort(address string) (resolved string, held *os.File, err error) {
	probe, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, err
	}
	tcp := probe.Addr().(*net.TCPAddr)
	if err := probe.Close(); err != nil {
		return "", nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, err
	}
	family, sockaddr := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: tcp.Port, Addr: [16]byte(tcp.IP.To16())})
	if ip := tcp.IP.To4(); ip != nil {
		family, sockaddr = syscall.AF_INET, &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip)}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("socket: %w", err)
	}
	held = os.NewFile(uintptr(fd), "reserved port")
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soReusePort, 1); err != nil {
		_ = held.Close()
		return "", nil, fmt.Errorf("share the port: %w", err)
	}
	if err := syscall.Bind(fd, sockaddr); err != nil {
		_ = held.Close()
		return "", nil, fmt.Errorf("bind: %w", err)
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port)), held, nil
}
