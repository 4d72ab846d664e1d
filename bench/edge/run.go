package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// errInterrupted: a signal ended the run.
var errInterrupted = errors.New("interrupted")

// runner carries out a plan. It belongs to the main goroutine, interrupt aside.
type runner struct {
	*plan
	progress    io.Writer
	started     time.Time
	floorBinary string
	seated      int
	measured    measured

	interrupted atomic.Bool
	mu          sync.Mutex
	processes   map[*exec.Cmd]bool
}

// measured is everything that came out, raw. Slices by round have the same
// length for all servers that took part.
type measured struct {
	memory  map[string][]memoryPoint // by memoryName
	collect []float64                // ms, with the most sessions
	echo    map[echoCase]map[string][]echoResult
	push    map[string]map[string][]pushRound // by request, then by server
	calls   map[string]float64                // per message, by server

	// Of the edge: allocations over the rounds of single messages, bytes over all.
	allocations, messages uint64
	bytesIn, bytesCopied  uint64

	reasons map[string]string // of figures that are null, by their JSON names
}

// echoCase is one setting of the echo rounds.
type echoCase struct{ Active, Pipelined int }

type memoryPoint struct {
	Connections int   `json:"connections"`
	Resident    int64 `json:"rss_bytes"`
}

// pushRound is what one server did in one push round.
type pushRound struct {
	Delivered uint64
	Seconds   float64 // until the last one had arrived
	CPU       float64 // seconds of the server
	Arrived   arrivedResult
}

func newRunner(p *plan, progress io.Writer) *runner {
	return &runner{
		plan: p, progress: progress, started: time.Now(), processes: map[*exec.Cmd]bool{},
		measured: measured{
			memory: map[string][]memoryPoint{}, echo: map[echoCase]map[string][]echoResult{},
			push: map[string]map[string][]pushRound{}, calls: map[string]float64{}, reasons: map[string]string{},
		},
	}
}

func (r *runner) logf(format string, args ...any) {
	fmt.Fprintf(r.progress, "%6.1fs  %s\n", time.Since(r.started).Seconds(), fmt.Sprintf(format, args...))
}

// run does everything and cleans up, whatever comes.
func (r *runner) run() (err error) {
	if err := checkFiles(r.filesNeeded()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "godwit-bench-edge-")
	if err != nil {
		return err
	}
	defer func() {
		r.killAll()
		err = errors.Join(err, os.RemoveAll(dir))
		if r.interrupted.Load() {
			err = errInterrupted
		}
	}()
	if r.floorBinary, err = buildFloor(dir); err != nil {
		return err
	}
	if err := r.measureMemory(); err != nil {
		return err
	}
	if err := r.measureEcho(); err != nil {
		return err
	}
	return r.measurePush()
}

// rounds calls fn with rising numbers, and the order of the servers turned
// around every time.
func (r *runner) rounds(share time.Duration, seats []*seat, fn func(round int, seats []*seat) error) error {
	began := time.Now()
	for round := range r.roundsMax {
		each := time.Since(began) / time.Duration(max(round, 1))
		if round >= r.roundsMin && time.Since(began)+each > share {
			break
		}
		order := slices.Clone(seats)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		if err := fn(round, order); err != nil {
			return err
		}
	}
	return nil
}
