package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"
)

// Every store lives in a child process of its own, so that processor time,
// memory and /proc/self/io are its own. The parent sends requests, one JSON
// value each, and gets one answer to each.

// childFlag is the hidden first argument of a child; the peer's name follows.
const childFlag = "-child"

// Names of requests.
const (
	opOpen    = "open"
	opLoad    = "load"
	opSettle  = "settle"
	opUsage   = "usage"
	opPrepare = "prepare"
	opPages   = "pages"
	opVerify  = "verify"
	opClose   = "close"
)

type request struct {
	Op     string
	Open   openOptions
	Load   loadSpec
	Settle time.Duration // at most
	Users  []uint32      // whose pages are read
	Phases []phase
}

type response struct {
	Error      string
	WrongData  bool // the error says that the store failed, not the run
	Seconds    float64
	Load       loadResult
	Usage      usage // of opOpen: the CPU used before it
	Pages      pageResult
	Compressed bool
}

// serveChild answers requests until the parent is gone.
func serveChild(name string, in io.Reader, out io.Writer) error {
	var p peer
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
		start := time.Now()
		err := answer(name, &p, &q, &r)
		r.Seconds = time.Since(start).Seconds()
		if err != nil {
			r.Error = fmt.Sprintf("%s: %s: %v", name, q.Op, err)
			r.WrongData = errors.As(err, new(errWrongData))
		}
		if err := encoder.Encode(&r); err != nil {
			return err
		}
	}
}

func answer(name string, p *peer, q *request, r *response) (err error) {
	if *p == nil && q.Op != opOpen {
		return errors.New("the store is not open")
	}
	switch q.Op {
	case opOpen:
		corpus() // before the store is accounted for
		if err := startProfile(q.Open.Profile); err != nil {
			return err
		}
		r.Usage.CPU = processCPU()
		*p, err = openPeer(name, q.Open)
		r.Compressed = q.Open.Compress && compresses(name)
	case opLoad:
		r.Load, err = runLoad(*p, q.Load)
	case opSettle:
		if err = (*p).Settle(after(q.Settle)); err == nil {
			pprof.StopCPUProfile()
			debug.FreeOSMemory() // what is resident afterwards is needed
			r.Usage, err = readUsage()
		}
	case opUsage:
		r.Usage, err = readUsage()
	case opPrepare:
		(*p).Prepare(headsOf(q.Phases, q.Open.Users))
	case opPages:
		r.Pages, err = runPages(*p, q.Users)
	case opVerify:
		err = verify(*p, q.Phases, q.Users)
	case opClose:
		err = (*p).Close()
		*p = nil
	default:
		err = errors.New("unknown request")
	}
	return err
}

func startProfile(path string) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f) // the process's end closes the file
}

// childMain is the whole life of a child. The parent's end, however it comes,
// ends it: its pipe closes, or the kernel kills it.
func childMain(name string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM) // of the terminal; the parent decides
	in, out := os.NewFile(3, "requests"), os.NewFile(4, "answers")
	if err := serveChild(name, in, out); err != nil {
		fmt.Fprintf(os.Stderr, "bench child %s: %v\n", name, err)
		return 1
	}
	return 0
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
func startChild(name string) (*child, error) {
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
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.ExtraFiles = []*os.File{requestsOut, answersIn}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
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

// call sends a request and waits for its answer.
func (c *child) call(q request) (response, error) {
	var r response
	if err := c.encoder.Encode(&q); err != nil {
		return r, fmt.Errorf("%s: %s: the child is gone: %w", c.name, q.Op, err)
	}
	if err := c.decoder.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %s: the child is gone: %w", c.name, q.Op, err)
	}
	if r.WrongData {
		return r, errWrongData{r.Error}
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// stop closes the store and waits for the process.
func (c *child) stop() error {
	_, err := c.call(request{Op: opClose})
	return errors.Join(err, c.in.Close(), c.cmd.Wait(), c.out.Close())
}

// kill ends the process without closing the store.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.in.Close()
	_ = c.cmd.Wait()
	_ = c.out.Close()
}
