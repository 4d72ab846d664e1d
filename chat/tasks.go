package chat

import "sync"

// tasksMax bounds the requests that are served by a goroutine of their own, because
// they read several raft groups and wait for commands in between. More at a time
// are refused as unavailable.
const tasksMax = 256

// tasks are the goroutines of such requests.
type tasks struct {
	mu      sync.Mutex
	running int
	closed  bool
	ended   sync.WaitGroup
}

// start runs f unless too many run, or the service is closing.
func (t *tasks) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.running >= tasksMax {
		return false
	}
	t.running++
	t.ended.Go(func() {
		defer func() {
			t.mu.Lock()
			t.running--
			t.mu.Unlock()
		}()
		f()
	})
	return true
}

// close refuses more and waits for those that run: whatever they wait for has to
// have ended.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.ended.Wait()
}
