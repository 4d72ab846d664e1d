package engine

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Commands may be taken faster than they are applied. If the WAL's bound stopped
// the applier, nothing would make it shrink again.
func TestWALBeyondItsBoundShrinksAgain(t *testing.T) {
	eachGroupCount(t, func(t *testing.T, groups int) {
		cfg := testConfig(t, vfs.NewMem(), groups)
		cfg.walFileBytes, cfg.WALBytesMax = 32<<10, 128<<10
		m := newAppender(groups)
		s := mustOpen(t, cfg, m)
		m.gate = make(chan struct{})
		var taken []*ackWaiter
		body := strings.Repeat("b", 1000)
		for i := range 2000 { // 2 MB while nothing is applied
			w := newWaiter()
			if err := s.Propose(s.Group(logOf(i).Partition()), appendCommand(logOf(i), 1, body), w); err != nil {
				t.Fatal(err)
			}
			taken = append(taken, w)
		}
		close(m.gate)
		for _, w := range taken {
			if a := <-w.done; a.err != nil {
				t.Fatal(a.err)
			}
		}
		// The checkpointer runs beside the answers.
		for late := time.Now().Add(time.Minute); ; runtime.Gosched() {
			oldest, err := s.committer.trimNow()
			if err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Checkpoints > 0 && oldest > 1 {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("%d checkpoints, the oldest file is %d", s.Stats().Checkpoints, oldest)
			}
		}
		mustClose(t, s)
	})
}
