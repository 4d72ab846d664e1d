package edge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// place holds an address from the moment it is chosen until gnet listens on it.
type place struct {
	addr   string
	shared *os.File // bound and not listening; nil: the port was free a moment ago, and was named
}

func (p *place) release() {
	if p.shared != nil {
		_ = p.shared.Close()
	}
}

// findPlace finds out whether the address can be listened on and which port it
// is. gnet's listeners share the port among loops (SO_REUSEPORT), and so would a
// second server without a word: unless that is wanted, a plain listener tells. Any
// free port is kept as one to share is, lest another process is given it meanwhile.
func findPlace(listen string, share bool) (p place, err error) {
	if share || strings.HasSuffix(listen, ":0") {
		return sharedPlace(listen)
	}
	probe, err := net.Listen("tcp", listen)
	if err != nil {
		return p, err
	}
	defer func() { _ = probe.Close() }()
	return place{addr: probe.Addr().String()}, nil
}

// gnetAddress is how gnet is told to listen. It takes [::] for IPv6 alone, which to
// everybody else, and to findPlace, is all addresses of the machine.
func gnetAddress(addr string) string {
	if port, all := strings.CutPrefix(addr, "[::]:"); all {
		addr = ":" + port
	}
	return "tcp://" + addr
}

// sharedPlace binds a socket that never listens: it is refused if somebody holds
// the port who does not share it, and it keeps a free port from being given away.
func sharedPlace(listen string) (p place, err error) {
	addr, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return p, err
	}
	family := unix.AF_INET6
	if addr.IP.To4() != nil {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil && addr.IP == nil { // a machine without IPv6
		family, addr.IP = unix.AF_INET, net.IPv4zero
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return p, os.NewSyscallError("socket", err)
	}
	p.shared = os.NewFile(uintptr(fd), "shared port")
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
			return p, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, sockaddrOf(addr, family)); err != nil {
		return p, fmt.Errorf("%w (is there a server that does not share the port?)", os.NewSyscallError("bind", err))
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return p, os.NewSyscallError("getsockname", err)
	}
	p.addr = portOf(at).String()
	return p, nil
}

func sockaddrOf(addr *net.TCPAddr, family int) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}
	}
	at := &unix.SockaddrInet6{Port: addr.Port}
	copy(at.Addr[:], addr.IP.To16())
	return at
}

// portOf reads a socket's own address; the zero value if it has none.
func portOf(at unix.Sockaddr) netip.AddrPort {
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(at.Addr).Unmap(), uint16(at.Port))
	}
	return netip.AddrPort{}
}

// migratesQueue reports whether the system hands what waits at a closed listener
// to another one of the port (Linux 5.14); else a client may be reset whose
// handshake is under way in that moment.
func migratesQueue() bool {
	b, err := os.ReadFile(migrateSetting)
	return err == nil && len(b) > 0 && b[0] == '1'
}

const migrateSetting = "/proc/sys/net/ipv4/tcp_migrate_req"

// leavePort makes the processes that share our port take all newcomers from now
// on. gnet can't close a listener while it runs, and takes an error of accept
// for its end: so the descriptor stays, and an idle listener of no address is put
// in its place. What had queued at ours is taken in first.
func (e *Edge) leavePort() {
	if !migratesQueue() {
		e.cfg.Logger.Info("set net.ipv4.tcp_migrate_req=1, or a client that connects in this moment may be reset")
	}
	idle, err := idleListener()
	if err != nil {
		e.cfg.Logger.Warn("the shared port can't be left: newcomers still come here", "error", err)
		return
	}
	defer func() { _ = unix.Close(idle) }()
	for _, fd := range e.listeners() {
		e.acceptLast(fd)
		if err := unix.Dup3(idle, fd, unix.O_CLOEXEC); err != nil {
			e.cfg.Logger.Warn("the shared port can't be left: newcomers still come here", "error", err)
		}
	}
	e.passLoops()
}

// passLoops returns when each loop that has had a connection has come by its mailbox:
// what it was accepting as the port was left is counted then, and will be awaited.
func (e *Edge) passLoops() {
	e.adoptMu.Lock()
	passed := make([]chan struct{}, 0, len(e.byLoop))
	for _, l := range e.byLoop {
		pass := make(chan struct{})
		l.box.note(item{kind: itemPass}, pass)
		passed = append(passed, pass)
	}
	e.adoptMu.Unlock()
	for _, pass := range passed {
		select {
		case <-pass:
		case <-e.done:
			return
		}
	}
}

// idleListener is a Unix socket that nobody can find: accept on it says EAGAIN.
func idleListener() (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{}); err == nil {
		err = unix.Listen(fd, 0)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, os.NewSyscallError("listen", err)
	}
	return fd, nil
}

// listeners returns the descriptors of this process that listen on our ports.
func (e *Edge) listeners() (fds []int) {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		e.cfg.Logger.Warn("can't list the open files", "error", err)
	}
	for _, file := range files {
		fd, err := strconv.Atoi(file.Name())
		if err != nil {
			continue
		}
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			continue
		}
		at, err := unix.Getsockname(fd)
		if err == nil && portOf(at).Port() != 0 && e.owns(portOf(at)) {
			fds = append(fds, fd)
		}
	}
	return fds
}

// owns reports whether we listen on that address.
func (e *Edge) owns(at netip.AddrPort) bool {
	f := func(listen string) bool {
		ours, err := netip.ParseAddrPort(listen)
		return err == nil && ours.Port() == at.Port() && ours.Addr().Unmap() == at.Addr()
	}
	return f(e.addr) || e.tlsAddr != nil && f(e.tlsAddr.String())
}

// acceptLast takes in what waits at a listener of ours.
func (e *Edge) acceptLast(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return
		}
		file := os.NewFile(uintptr(fd), "accepted")
		conn, err := net.FileConn(file)
		_ = file.Close()
		if err == nil {
			err = e.takeIn(conn)
		}
		if err != nil {
			e.cfg.Logger.Warn("a connection was lost in leaving the port", "error", err)
		}
	}
}

// takeIn gives a connection to some loop, and returns when that has it: it is
// counted from then on. gnet closes it when that fails.
func (e *Edge) takeIn(conn net.Conn) error {
	taken, err := e.enroll(conn)
	if err != nil {
		return err
	}
	select {
	case result := <-taken:
		return result.Err
	case <-e.done:
		return net.ErrClosed
	}
}

func (e *Edge) enroll(conn net.Conn) (taken <-chan gnet.RegisteredResult, err error) {
	e.adoptMu.Lock()
	defer e.adoptMu.Unlock()
	for events := range e.byLoop {
		return events.Enroll(context.Background(), conn)
	}
	_ = conn.Close()
	return nil, net.ErrClosed
}
