package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Every server and every client is a child process of its own, so that CPU time
// and memory are its own. The parent sends requests, one JSON value each, and
// gets one answer to each.

// childFlag is the hidden first argument of a child; its name follows.
const childFlag = "-child"

// clientName is the child that is no server.
const clientName = "client"

// Names of requests; the first group is for servers, the second for clients.
const (
	opStart     = "start"
	opMemory    = "memory"
	opCollect   = "collect"
	opCounters  = "counters"
	opFlood     = "flood"
	opPaced     = "paced"
	opBroadcast = "broadcast"
	opLevel     = "level"

	opConnect = "connect"
	opEcho    = "echo"
	opWatch   = "watch"
	opAwait   = "await"
)

type request struct {
	Op      string
	Start   startSpec   `json:",omitzero"`
	Held    heldSpec    `json:",omitzero"` // of opMemory
	Push    pushSpec    `json:",omitzero"`
	Connect connectSpec `json:",omitzero"`
	Echo    echoSpec    `json:",omitzero"`
	Await   awaitSpec   `json:",omitzero"`
}

type response struct {
	Error    string        `json:",omitempty"`
	Addr     string        `json:",omitempty"`
	Resident int64         `json:",omitempty"` // bytes, of opMemory
	Collect  []float64     `json:",omitempty"` // ms of full collections
	Counters counters      `json:",omitzero"`
	Push     pushResult    `json:",omitzero"`
	Echo     echoResult    `json:",omitzero"`
	Arrived  arrivedResult `json:",omitzero"`
}

// answerer is a child's side of the requests.
type answerer interface {
	answer(q *request, r *response) error
	close()
}

// serveChild answers requests until the parent is gone.
func serveChild(a answerer, in io.Reader, out io.Writer) error {
	defer a.close()
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q request
		if err := decoder.Decode(&q); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var r response
		if err := a.answer(&q, &r); err != nil {
			r.Error = err.Error()
		}
		if err := encoder.Encode(&r); err != nil {
			return err
		}
	}
}

// childMain is the whole life of a child. The parent's end, however it comes,
// ends it: its pipe closes, or the kernel kills it.
func childMain(name string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM) // of the terminal; the parent decides
	a, err := newAnswerer(name)
	if err == nil {
		err = serveChild(a, os.NewFile(3, "requests"), os.NewFile(4, "answers"))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench/edge child %s: %v\n", name, err)
		return 1
	}
	return 0
}

func newAnswerer(name string) (answerer, error) {
	if name == clientName {
		return newClient()
	}
	return newHost(name)
}

// child is the parent's end. It belongs to the main goroutine.
type child struct {
	name    string
	cmd     *exec.Cmd
	in, out *os.File
	encoder *json.Encoder
	decoder *json.Decoder
}

// startChild must be called on the main goroutine, which is locked to its
// thread: Pdeathsig is about the thread that started the child.
func startChild(name string, core int) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	requestsOut, requestsIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answersOut, answersIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, requestsOut.Close(), requestsIn.Close())
	}
	cmd := exec.Command(self, childFlag, name)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2") // an event loop occupies one
	cmd.ExtraFiles, cmd.Stderr = []*os.File{requestsOut, answersIn}, os.Stderr
	err = startPinned(cmd, core)
	_ = requestsOut.Close()
	_ = answersIn.Close()
	if err != nil {
		return nil, errors.Join(err, requestsIn.Close(), answersOut.Close())
	}
	return &child{
		name: name, cmd: cmd, in: requestsIn, out: answersOut,
		encoder: json.NewEncoder(requestsIn), decoder: json.NewDecoder(answersOut),
	}, nil
}

// startPinned starts a process on one core; the kernel kills it with this one.
func startPinned(cmd *exec.Cmd, core int) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return onCore(core, cmd.Start)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// call sends a request and waits for its answer.
func (c *child) call(q request) (response, error) {
	var r response
	if err := c.encoder.Encode(&q); err != nil {
		return r, fmt.Errorf("%s: %s: the child is gone: %w", c.name, q.Op, err)
	}
	if err := c.decoder.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %s: the child is gone: %w", c.name, q.Op, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s: %s", c.name, q.Op, r.Error)
	}
	return r, nil
}

// stop lets the child end by itself, which closes a profile, and waits for it.
func (c *child) stop() error {
	return errors.Join(c.in.Close(), c.cmd.Wait(), c.out.Close())
}

// kill ends the process at once.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.in.Close()
	_ = c.cmd.Wait()
	_ = c.out.Close()
}
