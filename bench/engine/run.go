package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	work       string // the run's own directory
	filesystem string
	syncP50    time.Duration
	started    time.Time
	progress   io.Writer
	stores     []*storeRun
	harness    map[int]loadResult // of the empty peer, by appenders
	cold       string             // how caches were dropped
	large      largeResult

	interrupted atomic.Bool
	mu          sync.Mutex
	// children are the living ones.
	children []*child
}

// storeRun is one store's part.
type storeRun struct {
	name       string
	dir        string
	child      *child
	users      uint32
	phases     []phase // what was written to dir, in order
	compressed bool

	rounds map[int][]loadResult // by appenders

	fill     loadResult
	messages uint64        // in the store of the fill
	written  usage         // of the process that wrote them, settled
	cpu      time.Duration // of that process, from the opening of the store on
	device   int64         // what the disk wrote meanwhile, for whomever
	disk     diskUse
	reopen   float64 // seconds
	coldPage pageResult
	warmPage pageResult
}

func (r *runner) logf(format string, args ...any) {
	fmt.Fprintf(r.progress, "%6.1fs  %s\n", time.Since(r.started).Seconds(), fmt.Sprintf(format, args...))
}

// run makes the run's directory, does everything and cleans up, whatever comes.
func (r *runner) run() (err error) {
	r.started = time.Now()
	r.harness = map[int]loadResult{}
	if r.work, r.filesystem, err = makeWorkDir(r.dir); err != nil {
		return err
	}
	defer func() {
		r.killAll()
		err = errors.Join(err, os.RemoveAll(r.work))
		if r.interrupted.Load() {
			err = errInterrupted
		}
	}()
	if r.syncP50, err = probeSync(r.work); err != nil {
		return fmt.Errorf("probe the disk: %w", err)
	}
	r.logf("%s on %s, fdatasync of 4 KiB %v", r.work, r.filesystem, r.syncP50)
	if err := r.runRounds(); err != nil {
		return err
	}
	if err := r.measureHarness(); err != nil {
		return err
	}
	if err := r.runFills(); err != nil {
		return err
	}
	if r.full {
		return r.runLarge()
	}
	return nil
}

// start starts a child and opens its store.
func (r *runner) start(name string, o openOptions) (*child, response, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, response{}, err
	}
	c, err := startChild(name)
	if err != nil {
		return nil, response{}, err
	}
	r.mu.Lock()
	r.children = append(r.children, c)
	r.mu.Unlock()
	if r.interrupted.Load() { // it came before interrupt could see the child
		return nil, response{}, errInterrupted
	}
	opened, err := c.call(request{Op: opOpen, Open: o})
	return c, opened, err
}

// forget takes a child off the list of the living.
func (r *runner) forget(c *child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.children = slices.DeleteFunc(r.children, func(x *child) bool { return x == c })
}

func (r *runner) stop(c *child) error {
	r.forget(c)
	return c.stop()
}

// interrupt may be called from any goroutine: it kills the children, and the
// call that waits for one fails.
func (r *runner) interrupt() {
	r.interrupted.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.children {
		_ = c.cmd.Process.Kill()
	}
}

func (r *runner) killAll() {
	for _, c := range slices.Clone(r.children) {
		r.forget(c)
		c.kill()
	}
}

// runRounds opens all stores and gives each round to one after the other, in
// turns from the front and from the back.
func (r *runner) runRounds() error {
	for _, name := range r.peers {
		s := &storeRun{name: name, users: r.roundUsers, dir: filepath.Join(r.work, name), rounds: map[int][]loadResult{}}
		if err := r.open(s); err != nil {
			return err
		}
		r.stores = append(r.stores, s)
	}
	for round := range max(r.rounds, roundsMax) {
		if !r.anotherRound(round) {
			break
		}
		for _, appenders := range r.appenders {
			order := slices.Clone(r.stores)
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, s := range order {
				if err := r.runRound(s, round, appenders); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// anotherRound decides after so many rounds.
func (r *runner) anotherRound(done int) bool {
	if r.rounds > 0 {
		return done < r.rounds
	}
	if done < roundsMin {
		return true
	}
	each := time.Since(r.started) / time.Duration(done)
	return done < roundsMax && time.Since(r.started)+each < r.roundsBudget
}

func (r *runner) open(s *storeRun) (err error) {
	var opened response
	o := r.plan.open(s.dir, s.users)
	if r.profiles != "" {
		if o.Profile, err = filepath.Abs(filepath.Join(r.profiles, filepath.Base(s.dir)+".cpu")); err != nil {
			return err
		}
	}
	device := diskWritten(r.work)
	s.child, opened, err = r.start(s.name, o)
	s.device = diskWritten(r.work) - device
	s.compressed, s.cpu = opened.Compressed, -opened.Usage.CPU
	return err
}

func (r *runner) runRound(s *storeRun, round, appenders int) error {
	result, err := r.load(s, loadSpec{
		Phase: phase{Seed: mix(uint64(round+1)<<32 | uint64(appenders)), Users: s.users},
		Count: r.roundMessages[appenders], Appenders: appenders, Deadline: r.roundDeadline, Quiet: r.quiet,
	})
	if err != nil {
		return err
	}
	s.rounds[appenders] = append(s.rounds[appenders], result)
	r.logf("round %d  %4d appenders  %-9s %8.0f/s  p50 %6.0f µs  p99 %6.0f µs  %5.1f µs CPU",
		round+1, appenders, s.name, result.perSecond(), result.P50, result.P99, result.CPU)
	return nil
}

// load runs one loop and remembers what it wrote.
func (r *runner) load(s *storeRun, spec loadSpec) (loadResult, error) {
	device := diskWritten(r.work)
	answer, err := s.child.call(request{Op: opLoad, Load: spec})
	s.device += diskWritten(r.work) - device
	if err != nil {
		return loadResult{}, err
	}
	written := spec.Phase
	written.Count, written.Appenders = answer.Load.Count, spec.Appenders
	s.phases = append(s.phases, written)
	return answer.Load, nil
}

// measureHarness runs the loops against a store that does nothing.
func (r *runner) measureHarness() error {
	o := r.plan.open(filepath.Join(r.work, peerEmpty), r.roundUsers)
	o.MicrosPerSync = float64(r.syncP50) / float64(time.Microsecond)
	c, _, err := r.start(peerEmpty, o)
	if err != nil {
		return err
	}
	s := &storeRun{name: peerEmpty, child: c, users: r.roundUsers}
	for _, appenders := range r.appenders {
		result, err := r.load(s, loadSpec{
			Phase: phase{Seed: 1, Users: s.users}, Count: r.roundMessages[appenders],
			Appenders: appenders, Deadline: r.roundDeadline / 3, Quiet: r.quiet,
		})
		if err != nil {
			return err
		}
		r.harness[appenders] = result
		r.logf("the harness alone  %4d appenders  %5.2f µs CPU", appenders, result.CPU)
	}
	return r.stop(c)
}
