package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// client is the load of one server: plain sockets on one epoll loop, the same
// for every server. The loop's thread owns everything; requests are handed to it
// as functions.
type client struct {
	epoll, wake int
	work        chan func()
	events      []unix.EpollEvent
	input       []byte
	conns       []conn
	kind        kind
	opening     opener

	// Of the request under way.
	mode    mode
	burst   []byte // what an active connection sends
	replies uint32 // what it waits for then: messages, or bytes of a raw server
	busy    int    // connections that wait
	echoed  atomic.Uint64
	watch   watch

	failed atomic.Pointer[error] // the first connection that broke
}

// kind is what the connections speak.
type kind string

const (
	kindRaw     kind = "raw"     // bytes
	kindEcho    kind = "echo"    // WebSocket at echoPath, nobody logs in
	kindSession kind = "session" // WebSocket of godwit.v1, authenticated
	kindPoll    kind = "poll"    // held GET /v1/poll, authenticated
)

const (
	echoPath    = "/echo"
	tokenPrefix = "bench-"
)

type mode uint8

const (
	modeIdle  mode = iota // what comes is read and dropped
	modeEcho              // whoever got its replies sends again
	modeWatch             // pushed messages are counted
)

func newClient() (*client, error) {
	c := &client{
		work: make(chan func(), 16), events: make([]unix.EpollEvent, 512), input: make([]byte, 256<<10),
	}
	var err error
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if c.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, err
	}
	err = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, c.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeIndex})
	go c.run()
	return c, err
}

func lockThread() { runtime.LockOSThread() }

func (c *client) close() {} // the process ends with its sockets

const wakeIndex = -1

// run is the loop; an epoll event names a connection by its index.
func (c *client) run() {
	lockThread()
	for {
		n, err := unix.EpollWait(c.epoll, c.events, c.patience())
		if err != nil && !errors.Is(err, unix.EINTR) {
			panic("BUG: epoll_wait: " + err.Error())
		}
		for i := range max(n, 0) {
			ev := &c.events[i]
			if ev.Fd == wakeIndex {
				var eight [8]byte
				_, _ = unix.Read(c.wake, eight[:])
				for len(c.work) > 0 {
					(<-c.work)()
				}
				continue
			}
			c.serve(ev.Fd, ev.Events)
		}
	}
}

// do runs fn on the loop and waits for it.
func (c *client) do(fn func()) {
	done := make(chan struct{})
	c.work <- func() { fn(); close(done) }
	_, _ = unix.Write(c.wake, binary.NativeEndian.AppendUint64(nil, 1))
	<-done
}

// until polls a condition on the loop; false when the time is over.
func (c *client) until(limit time.Duration, fn func() bool) (ok bool, err error) {
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		c.do(func() { ok = fn() })
		if failed := c.failed.Load(); failed != nil {
			return false, *failed
		}
		if ok || time.Now().After(end) {
			return ok, nil
		}
	}
}

// patience is how long to wait for events, in ms. A client that sleeps is woken by
// the server's write, and on one machine the server's CPU time pays for that; so
// it does not sleep where CPU time is measured, but does where latency is.
func (c *client) patience() int {
	if c.mode == modeIdle || c.mode == modeWatch && c.watch.stamped {
		return -1
	}
	return 0
}

func (c *client) fail(err error) { c.failed.CompareAndSwap(nil, &err) }

func (c *client) answer(q *request, r *response) (err error) {
	switch q.Op {
	case opConnect:
		err = c.connect(q.Connect)
	case opEcho:
		r.Echo, err = c.echo(q.Echo)
	case opWatch:
		err = c.startWatch(q.Await)
	case opAwait:
		r.Arrived, err = c.await(q.Await)
	default:
		err = errors.New("unknown request")
	}
	return err
}

// serve handles one event of a connection.
func (c *client) serve(index int32, events uint32) {
	k := &c.conns[index]
	if k.stage == stageDialing {
		c.dialed(k)
		return
	}
	n, err := readSocket(k.fd, c.input)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case n <= 0:
		c.fail(fmt.Errorf("the server closed connection %d of %d in stage %d: %v", index, len(c.conns), k.stage, err))
		_ = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, int(k.fd), nil)
		return
	}
	data := c.input[:n]
	if k.stage != stageReady {
		c.proceed(k, data)
		return
	}
	switch c.kind {
	case kindRaw:
		c.rawInput(k, n)
	case kindPoll:
		c.proceed(k, data)
	default:
		c.frames(k, data)
	}
}

// send writes a few bytes; the socket has room for them.
func (c *client) send(k *conn, b []byte) {
	if n, err := writeSocket(k.fd, b); n != len(b) {
		c.fail(fmt.Errorf("%d of %d bytes were written: %v", n, len(b), err))
	}
}

// The raw system calls spare the runtime's bookkeeping: they never block here.
func readSocket(fd int32, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func writeSocket(fd int32, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
