package load

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// generatorNice is the priority a generator asks for while there is traffic. On
// a machine it shares with the server, a loop that waits for the CPU would begin
// operations late and blame the server, or make the run invalid.
const generatorNice = -10

// sparePlaces more goroutines may run at once than there are CPUs, so that a loop
// back from its wait never queues behind another goroutine in the runtime: the
// kernel, which knows the priority, decides.
const sparePlaces = 4

// prefer raises the priority of this process, where that is allowed, and returns
// how to undo it. Servers are other processes and keep theirs.
func (a *Agent) prefer() (undo func()) {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil || a.plan.Fair {
		return func() {}
	}
	before := 20 - raw // the system call's answer is never negative
	if before <= generatorNice || setNice(generatorNice) != nil {
		return func() {}
	}
	a.nice = generatorNice
	places := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(places + sparePlaces)
	return func() {
		runtime.GOMAXPROCS(places)
		_ = setNice(before)
	}
}

// setNice sets every thread, since on Linux each has a priority of its own. All
// of them, because a loop may wait for what another thread of the runtime holds.
// New threads inherit; the second round finds those that came meanwhile.
func setNice(nice int) error {
	for range 2 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("set the priority: %w", err)
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil {
				continue
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, nice); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("set the priority: %w", err)
			}
		}
	}
	return nil
}
