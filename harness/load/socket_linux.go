package load

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sourceConnectionsMax is how many connections leave from one loopback address:
// as few as from a household behind a NAT or a small office, whose number a server
// may bound. Beyond 13,000 the search for a free port would slow badly.
const sourceConnectionsMax = 100

// source returns the address that connection n leaves from. Only loopback
// targets have addresses to rotate; others leave the choice to the kernel.
func source(target netip.AddrPort, n int) (from netip.Addr, ok bool) {
	if !target.Addr().Is4() || !target.Addr().IsLoopback() {
		return from, false
	}
	i := n/sourceConnectionsMax + 1 // 127.0.1.1, 127.0.1.2 …
	return netip.AddrFrom4([4]byte{127, byte(i / 250 % 250), 1, byte(i%250 + 1)}), true
}

// dial starts a connection and returns its socket; it is writable when done.
func dial(target netip.AddrPort, n int) (fd int, err error) {
	family := unix.AF_INET
	if target.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, fmt.Errorf("TCP_NODELAY: %w", err)
	}
	if from, ok := source(target, n); ok {
		// The port is chosen at connect, when the target is known: without this a
		// source address has 28,000 ports in all instead of 28,000 for each target.
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return -1, fmt.Errorf("IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
		if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
			return -1, fmt.Errorf("bind to %s: %w", from, err)
		}
	}
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(target.Port()), Addr: target.Addr().As16()}
	if family == unix.AF_INET {
		to = &unix.SockaddrInet4{Port: int(target.Port()), Addr: target.Addr().As4()}
	}
	if err = unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return -1, fmt.Errorf("connect to %s: %w", target, err)
	}
	return fd, nil
}

// socketError is what became of a connect.
func socketError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// reset closes a socket without leaving it in TIME_WAIT: the peer sees a reset,
// as when a client's machine vanishes behind a NAT.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// poller waits for sockets and for a moment in time.
type poller struct {
	fd, timer int
	armed     int64 // ns on the monotonic clock the timer is set to; 0: not
	events    []unix.EpollEvent
}

func newPoller() (p *poller, err error) {
	p = &poller{timer: -1, events: make([]unix.EpollEvent, 512)}
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		p.close()
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	if err = p.control(unix.EPOLL_CTL_ADD, p.timer, unix.EPOLLIN, timerToken); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// timerToken marks the timer's events; sockets have their session's position.
const timerToken = 1<<32 - 1

func (p *poller) control(op, fd int, events, token uint32) error {
	if err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(token)}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait returns ready events, or none when the clock reached wake.
func (p *poller) wait(wake int64) ([]unix.EpollEvent, error) {
	if wake != p.armed {
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(wake, 1))}
		if err := unix.TimerfdSettime(p.timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
			return nil, fmt.Errorf("set the timer: %w", err)
		}
		p.armed = wake
	}
	n, err := unix.EpollWait(p.fd, p.events, -1)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	return p.events[:max(n, 0)], nil
}

// fired takes note that the timer's moment has come.
func (p *poller) fired() {
	var expirations [8]byte
	_, _ = unix.Read(p.timer, expirations[:])
	p.armed = 0
}

func (p *poller) close() {
	_ = unix.Close(p.fd)
	if p.timer >= 0 {
		_ = unix.Close(p.timer)
	}
}

// clock is CLOCK_MONOTONIC in ns: the timer's clock, the same in all processes
// of a machine.
func clock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("BUG: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}
