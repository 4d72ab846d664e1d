package tikv

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/tikvrpc"

	"github.com/godwit-im/godwit/router"
	"github.com/godwit-im/godwit/tools/devtikv/server"
)

// versions counts what the cluster keeps of a key.
func versions(t *testing.T, s *Store, key string) int {
	t.Helper()
	client := s.client.Load()
	bo := tikv.NewBackofferWithVars(t.Context(), 1000, nil)
	region, err := client.GetRegionCache().LocateKey(bo, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	request := tikvrpc.NewRequest(tikvrpc.CmdMvccGetByKey, &kvrpcpb.MvccGetByKeyRequest{Key: []byte(key)})
	response, err := client.SendReq(bo, request, region.Region, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return len(response.Resp.(*kvrpcpb.MvccGetByKeyResponse).GetInfo().GetWrites())
}

func TestCollectRemovesOldVersionsOnly(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{Regions: 4})
	s := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: calm})
	for i := range 10 {
		put(t, s, "k", fmt.Sprint(i))
	}
	now, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "10")
	put(t, s, "k", "11")
	if err := s.Collect(t.Context(), now); err == nil {
		t.Fatal("versions that may still be read were collected")
	}
	if err := s.Collect(t.Context(), router.TimestampOf(now.Milliseconds()-2*collectAgeMin.Milliseconds())); err != nil {
		t.Fatal(err)
	}
	if n := versions(t, s, "k"); n != 12 {
		t.Fatalf("%d versions are left of 12 that are young", n)
	}
	if err := s.collect(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if n := versions(t, s, "k"); n != 3 {
		t.Errorf("%d versions are left, want the two after and the one at that time", n)
	}
	if got, err := s.Get(t.Context(), []byte("k")); err != nil || string(got) != "11" {
		t.Errorf("get: %q %v", got, err)
	}
}

func TestCollectFailsWithTheCluster(t *testing.T) {
	t.Parallel()
	cluster := startServer(t, server.Config{})
	s := openStore(t, Config{PD: []string{cluster.PDAddr()}, Timeout: time.Second})
	put(t, s, "k", "1")
	if err := cluster.Outage(server.PD, forever); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(t.Context(), 1); !errors.Is(err, router.ErrUnavailable) {
		t.Errorf("collect without PD: %v", err)
	}
}

func TestStoreFollowsAClusterThatMoved(t *testing.T) {
	t.Parallel()
	first := startServer(t, server.Config{})
	s, changes := watched(t, first, time.Second)
	await(t, changes, BreakerClosed)
	put(t, s, "k", "1")
	address := first.PDAddr()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	untilOpen(t, s)
	await(t, changes, BreakerOpen)
	second, err := server.Start(server.Config{PD: address}) // the store has another address
	if err != nil {
		t.Skipf("somebody else took %s: %v", address, err)
	}
	t.Cleanup(func() { _ = second.Close() })
	await(t, changes, BreakerClosed)
	put(t, s, "k", "2")
	if got := get(t, s, "k"); got != "2" {
		t.Errorf("get: %q", got)
	}
}
