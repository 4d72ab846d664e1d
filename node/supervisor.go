package node

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// EdgeProcess is what the command of an edge process must be told.
type EdgeProcess struct {
	Node      string
	Listen    string // with its port; shared, so edge.reuse_port is on
	TLSListen string // likewise; empty: no TLS
	Upstream  string
	Data      string
	Dev       bool
	Router    string   // router.store, in case a flag says it
	PD        []string // likewise
	Loops     int      // event loops
	Memory    Size     // its share of the memory; 0: not known
}

// supervisor keeps edge processes running, each with a goroutine of its own. They
// die with this process.
type supervisor struct {
	logger *slog.Logger
	forks  chan fork
	stop   chan struct{}
	once   sync.Once

	keeping sync.WaitGroup
	forking sync.WaitGroup
}

// fork asks the forking thread for a process.
type fork struct {
	cmd    *exec.Cmd
	result chan error
}

// Restarts wait longer each time, until a process has stayed for a while.
const (
	restartMin  = 100 * time.Millisecond
	restartMax  = 5 * time.Second
	restartGood = 30 * time.Second
	stopEdgeMax = 2 * time.Second // beyond the drain's own timeout
)

func newSupervisor(logger *slog.Logger) *supervisor {
	s := &supervisor{logger: logger, forks: make(chan fork), stop: make(chan struct{})}
	s.forking.Go(s.forkLoop)
	return s
}

// forkLoop starts all processes on one thread that stays: the signal at a parent's
// death (prctl(2), PR_SET_PDEATHSIG) is in truth one at the death of the thread.
func (s *supervisor) forkLoop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for f := range s.forks {
		f.result <- f.cmd.Start()
	}
}

// keep starts a process and starts it again whenever it ends, until Stop. failed
// is called with each end.
func (s *supervisor) keep(node string, grace time.Duration, command func() *exec.Cmd, failed func(error)) {
	s.keeping.Go(func() {
		for pause := restartMin; ; pause = min(2*pause, restartMax) {
			began := time.Now()
			err := s.run(node, grace, command())
			select {
			case <-s.stop:
				return
			default:
			}
			failed(fmt.Errorf("edge process %s ended: %w", node, err))
			if time.Since(began) > restartGood {
				pause = restartMin
			}
			s.logger.Warn("edge process ended", "edge", node, "err", err, "again_in", pause.String())
			select {
			case <-time.After(pause):
			case <-s.stop:
				return
			}
		}
	})
}

// run starts one process and returns when it has ended, which Stop asks of it.
func (s *supervisor) run(node string, grace time.Duration, cmd *exec.Cmd) error {
	tie(cmd)
	f := fork{cmd, make(chan error, 1)}
	s.forks <- f
	if err := <-f.result; err != nil {
		return err
	}
	s.logger.Info("edge process started", "edge", node, "pid", cmd.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return exitOf(err)
	case <-s.stop:
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	select {
	case err := <-ended:
		return exitOf(err)
	case <-ctx.Done():
		s.logger.Error("edge process did not end in time and is killed", "edge", node, "pid", cmd.Process.Pid)
		_ = cmd.Process.Kill()
		return exitOf(<-ended)
	}
}

func exitOf(err error) error {
	if err == nil {
		return fmt.Errorf("exit status 0")
	}
	return err
}

// Stop ends all processes and returns when they are gone.
func (s *supervisor) Stop() {
	s.once.Do(func() {
		close(s.stop)
		s.keeping.Wait()
		close(s.forks)
		s.forking.Wait()
	})
}
