package tikv

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/router/routertest"
	"github.com/godwit-im/godwit/tools/devtikv/server"
)

// calm is a timeout that no slow machine reaches.
const calm = 30 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// The mock store of the server drains its pool for up to 30 s after its end.
		goleak.IgnoreAnyFunction("github.com/pingcap/goleveldb/leveldb.(*DB).mpoolDrain"),
		// Closed while the cluster is away, client-go waits for each connection to come
		// for the rest of 5 s, and can't be told not to.
		goleak.IgnoreAnyFunction("github.com/tikv/client-go/v2/internal/client.(*batchCommandsClient).waitConnReady"))
}

func TestSuite(t *testing.T) {
	f := func(name string, config server.Config, used, unused string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := startServer(t, config)
			routertest.Run(t, func(t testing.TB) router.Store {
				return opened(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm})
			})
			if got := cluster.Stats().KV; got[used] == 0 || got[unused] != 0 {
				t.Errorf("it was done by %v", got)
			}
		})
	}
	f("OnePhase", server.Config{Regions: 4}, "1pc", "commit")
	f("TwoPhases", server.Config{TwoPhase: true}, "commit", "1pc")
}

// TestRealCluster runs the same suite against a TiKV that is named, with keys that
// begin with "godwit-test/" or a cluster's name of its own; it leaves them there.
func TestRealCluster(t *testing.T) {
	addresses := os.Getenv("TIKV_PD_ADDR")
	if addresses == "" {
		t.Skip("TIKV_PD_ADDR names no cluster")
	}
	routertest.Run(t, func(t testing.TB) router.Store {
		return opened(t, Config{PD: strings.Split(addresses, ","), Timeout: calm})
	})
}

// opened is a Store whose breaker is closed.
func opened(t testing.TB, config Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if s.State() != BreakerClosed {
		_ = s.Close()
		t.Fatal("the cluster does not answer")
	}
	return s
}
