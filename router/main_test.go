package router_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/local"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a local store whose faults and clock a test sets, and that counts.
type faulty struct {
	*local.Store
	away   atomic.Bool  // every operation answers ErrUnavailable
	jumpMS atomic.Int64 // that the store's clock is ahead

	mu    sync.Mutex
	count map[local.Op]int
}

func newFaulty() *faulty {
	f := &faulty{count: map[local.Op]int{}}
	f.Store = local.Open(local.Config{
		Clock: func() int64 { return time.Now().UnixMilli() + f.jumpMS.Load() },
		Fault: func(_ context.Context, op local.Op) error {
			f.mu.Lock()
			f.count[op]++
			f.mu.Unlock()
			if f.away.Load() {
				return router.ErrUnavailable
			}
			return nil
		},
	})
	return f
}

// operations counts what a cluster's store would: reads, commits, timestamps apart.
func (f *faulty) operations() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[local.OpGet] + f.count[local.OpBatch] + f.count[local.OpScan] + f.count[local.OpBegin] + f.count[local.OpCommit]
}

func (f *faulty) counted(op local.Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[op]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a directory that ends with the test.
func open(t *testing.T, s router.Store, cfg router.Config) *router.Directory {
	t.Helper()
	cfg.Store = s
	d, err := router.Open(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

func claim(t *testing.T, d *router.Directory, name string, report func() router.Load) *router.Lease {
	t.Helper()
	l, err := d.ClaimEdge(router.Member{Name: name, URL: "wss://" + name}, report)
	must(t, err)
	<-l.Claimed()
	return l
}
