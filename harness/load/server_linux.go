package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// startPatience bounds the wait for a server to listen.
const startPatience = 30 * time.Second

// Server is a server process of our own.
type Server struct {
	URL, Ops string // ws://…/v1/ws and http://…
	PID      int

	cmd   *exec.Cmd
	ended chan struct{}
	once  sync.Once
}

// StartServer runs "program args…" with some variables more in its environment.
// It prints its addresses as godwit serve --json does; StartServer returns when it
// listens. The process dies with this one, however this one ends. Its log goes to
// log.
func StartServer(ctx context.Context, log io.Writer, environ []string, program string, args ...string) (*Server, error) {
	s := &Server{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), environ...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stderr = log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	started, listens := make(chan error, 1), make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the thread that started the child
		// ends, so this thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.ended)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			listens <- s.readAddresses(stdout)
			_, _ = io.Copy(io.Discard, stdout)
			_ = s.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	s.PID = s.cmd.Process.Pid
	select {
	case err = <-listens:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(startPatience):
		err = fmt.Errorf("it did not listen within %s", startPatience)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("start the server: %w", err)
	}
	return s, nil
}

func (s *Server) readAddresses(stdout io.Reader) error {
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("it ended before it listened: %w", err)
	}
	var addresses struct{ Listen, Ops string }
	if err := json.Unmarshal(line, &addresses); err != nil {
		return fmt.Errorf("it printed %.100q", line)
	}
	s.URL, s.Ops = addresses.Listen, addresses.Ops
	return nil
}

// Close kills the server and waits until it is gone.
func (s *Server) Close() {
	s.once.Do(func() { _ = s.cmd.Process.Kill() })
	<-s.ended
}
