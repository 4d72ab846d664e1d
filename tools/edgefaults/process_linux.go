package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/godwit-im/godwit/internal/netlab"
)

// process is a child and how it is started, so that it can be started again.
type process struct {
	name    string
	program string
	args    []string
	env     []string
	log     string       // file of its standard error, appended to
	host    *netlab.Host // nil: this one

	cmd   *exec.Cmd
	ended chan struct{}
	lines chan string // of its standard output
	mu    sync.Mutex
	meant bool // its end was asked for
}

const startPatience = time.Minute

// start starts the child; heard is given each line of its standard output until it
// says that this is enough.
func (p *process) start(ctx context.Context, heard func(line string) (enough bool)) error {
	cmd := exec.Command(p.program, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.cmd, p.ended, p.lines, p.meant = cmd, make(chan struct{}), make(chan string, 16), false
	started := make(chan error, 1)
	go p.run(stdout, started)
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	late := time.After(startPatience)
	for {
		select {
		case line, more := <-p.lines:
			if !more {
				<-p.ended
				return fmt.Errorf("%s ended at its start:\n%s", p.name, p.tail())
			}
			if heard(line) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("%s is not there after %s:\n%s", p.name, startPatience, p.tail())
		}
	}
}

// run starts the child and waits for its end. The kernel kills a child when the
// thread that started it ends, so this one stays.
func (p *process) run(stdout io.Reader, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	defer close(p.lines)
	start := p.cmd.Start
	if p.host != nil {
		start = func() error { return p.host.Start(p.cmd) }
	}
	err := start()
	started <- err
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		select {
		case p.lines <- lines.Text():
		default: // nobody reads any more
		}
	}
	_ = p.cmd.Wait()
}

// kill ends the child as a power switch would.
func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.mu.Lock()
	p.meant = true
	p.mu.Unlock()
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// died reports an end that nobody asked for.
func (p *process) died() error {
	if p.cmd == nil {
		return nil
	}
	select {
	case <-p.ended:
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.meant {
		return nil
	}
	return fmt.Errorf("%s ended by itself (%v):\n%s", p.name, p.cmd.ProcessState, p.tail())
}

const tailBytes = 4 << 10

// tail is the end of what it logged.
func (p *process) tail() string {
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := f.Seek(-tailBytes, io.SeekEnd); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err.Error()
	}
	b, _ := io.ReadAll(f)
	return string(b)
}
