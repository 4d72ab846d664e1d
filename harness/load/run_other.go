//go:build !linux

package load

import (
	"context"
	"errors"
	"io"

	"github.com/godwit-im/godwit/harness/result"
)

// Run needs epoll and timerfd.
func Run(context.Context, Config) (*result.Run, error) {
	return nil, errors.New("load is generated on Linux only")
}

// Server is a server process of our own.
type Server struct {
	URL, Ops string
	PID      int
}

// StartServer needs a system that ends children with their parent.
func StartServer(context.Context, io.Writer, []string, string, ...string) (*Server, error) {
	return nil, errors.New("a server for the load is started on Linux only")
}

// Close does nothing: there is no server.
func (s *Server) Close() {}

// DataDir is a directory for the servers of a run.
type DataDir struct{ Path string }

// NewDataDir is of no use without servers.
func NewDataDir(string) (*DataDir, error) {
	return nil, errors.New("a server for the load is started on Linux only")
}

// Remove does nothing: there is no directory.
func (d *DataDir) Remove() error { return nil }

// ServeAgent needs epoll and timerfd, too.
func ServeAgent(io.ReadWriteCloser) error { return errors.New("load is generated on Linux only") }
