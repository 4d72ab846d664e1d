package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stderrBytesMax is how much of a child's stderr is kept: panics come last.
const stderrBytesMax = 32 << 10

// process is a running child and what is heard of it.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stderr tail
	ears   *ears
	ended  chan struct{} // closed: all it said was heard, its processes are gone
	err    error         // then: how it ended, or what it said was no line
}

// launch says how a child is started.
type launch struct {
	binary string   // empty: this program
	wrap   []string // a command that runs it, as strace does
	env    []string
	spec   childSpec
}

// start must be called on a goroutine locked to its thread, which outlives the
// child: the kernel kills the child with the thread that started it.
func start(l launch, e *ears) (*process, error) {
	var err error
	if l.binary == "" {
		if l.binary, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	spec, err := json.Marshal(l.spec)
	if err != nil {
		return nil, err
	}
	command := append(append([]string(nil), l.wrap...), l.binary, childArgument, string(spec))
	said, stdout, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stdin, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, said.Close())
	}
	defer stdin.Close()
	p := &process{cmd: exec.Command(command[0], command[1:]...), stdin: write, ears: e, ended: make(chan struct{})}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, stdout, &p.stderr
	p.cmd.WaitDelay = unmountTime
	p.cmd.Env = append(append(os.Environ(), "GOTRACEBACK=all"), l.env...)
	// A group of its own: strace and what it runs are killed together.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, said.Close(), write.Close())
	}
	go func() {
		defer close(p.ended)
		heard := e.listen(said)
		if heard != nil {
			p.kill() // or it would wait for somebody to listen
		}
		p.err = errors.Join(heard, p.cmd.Wait(), said.Close())
	}()
	return p, nil
}

// askToClose has the child close its store.
func (p *process) askToClose() { _, _ = p.stdin.Write([]byte{'c'}) }

func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// abort has the child print its goroutines, for the report of a hang.
func (p *process) abort() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(3 * time.Second):
	}
}

// end kills what is left and waits until it is gone.
func (p *process) end() {
	p.kill()
	<-p.ended
	_ = p.stdin.Close()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if extra := len(t.buf) - stderrBytesMax; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
