package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// unixPrefix begins the address of a socket file; anything else is HOST:PORT.
const unixPrefix = "unix:"

// pathBytesMax is what a socket's path may have (sun_path, with its final zero).
const pathBytesMax = 107

// CheckAddress says what is wrong with an address of the link.
func CheckAddress(address string) error {
	path, isUnix := strings.CutPrefix(address, unixPrefix)
	switch {
	case isUnix && path == "":
		return errors.New("unix: needs a path after it")
	case isUnix && len(path) > pathBytesMax:
		return fmt.Errorf("a socket's path may have %d bytes, this one has %d", pathBytesMax, len(path))
	case isUnix:
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return errors.New("it must be unix:PATH or HOST:PORT")
	}
	return nil
}

// SocketPath returns the path of a unix: address.
func SocketPath(address string) (path string, ok bool) { return strings.CutPrefix(address, unixPrefix) }

// Listen listens for edge processes. A socket file that nobody listens on any more
// is replaced; the new one is for this user alone.
func Listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, unixPrefix)
	if !isUnix {
		return net.Listen("tcp", address)
	}
	if err := checkStale(path); err != nil {
		return nil, err
	}
	// Made under a name nobody knows and renamed when its mode is right: there is
	// no moment in which others could connect.
	hidden := fmt.Sprintf("%s.%d", path, os.Getpid())
	if len(hidden) > pathBytesMax {
		hidden = filepath.Join(filepath.Dir(path), fmt.Sprint(os.Getpid()))
	}
	_ = os.Remove(hidden)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(hidden, 0o600), os.Rename(hidden, path)); err != nil {
		return nil, errors.Join(err, listener.Close(), os.Remove(hidden))
	}
	return &socketListener{UnixListener: listener, path: path}, nil
}

// socketListener removes its file when it is closed.
type socketListener struct {
	*net.UnixListener
	path string
}

func (l *socketListener) Close() error {
	_ = os.Remove(l.path) // first: once it is closed, the name may be another's
	return l.UnixListener.Close()
}

// checkStale accepts a path that is free, or a socket file whose listener is gone;
// a rename over it replaces it. Anything else that has the name stays.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	if path, isUnix := strings.CutPrefix(address, unixPrefix); isUnix {
		return dialer.DialContext(ctx, "unix", path)
	}
	return dialer.DialContext(ctx, "tcp", address)
}
