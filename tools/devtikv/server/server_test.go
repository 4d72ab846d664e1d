package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/tikv/client-go/v2/tikvrpc"
)

func start(t *testing.T, config Config) *Server {
	t.Helper()
	config.PD = "127.0.0.1:0"
	s, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestTimestampsAreGivenOnce(t *testing.T) {
	now := time.UnixMilli(5000)
	o := &oracle{now: func() time.Time { return now }}
	var mu sync.Mutex
	given := make(map[uint64]bool)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				const count = 1000
				last := o.take(count)
				if first := last - count + 1; first>>logicalBits != last>>logicalBits {
					t.Errorf("%d…%d are of two milliseconds", first, last)
				}
				mu.Lock()
				for ts := last - count + 1; ts <= last; ts++ {
					if given[ts] {
						t.Errorf("%d is given twice", ts)
					}
					given[ts] = true
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	// A clock that goes back changes nothing.
	before := o.take(1)
	now = time.UnixMilli(1000)
	if after := o.take(1); after <= before {
		t.Errorf("%d after %d", after, before)
	}
}

// place is where a request to the only region goes.
func place(t *testing.T, s *Server) *kvrpcpb.Context {
	t.Helper()
	region, leader, _, _ := s.cluster.GetRegionByKey([]byte("k"))
	if region == nil {
		t.Fatal("no region")
	}
	return &kvrpcpb.Context{RegionId: region.Id, RegionEpoch: region.RegionEpoch, Peer: leader}
}

func prewrite(t *testing.T, s *Server, startTS uint64, value string) *kvrpcpb.PrewriteResponse {
	t.Helper()
	request := &kvrpcpb.PrewriteRequest{
		Context: place(t, s), PrimaryLock: []byte("k"), StartVersion: startTS, LockTtl: 3000, TryOnePc: true,
		Mutations: []*kvrpcpb.Mutation{{Op: kvrpcpb.Op_Put, Key: []byte("k"), Value: []byte(value)}},
	}
	answer, err := s.execute(t.Context(), tikvrpc.CmdPrewrite, request, request.Context)
	if err != nil {
		t.Fatal(err)
	}
	if answer == nil {
		return nil
	}
	return answer.(*kvrpcpb.PrewriteResponse)
}

func get(t *testing.T, s *Server) string {
	t.Helper()
	request := &kvrpcpb.GetRequest{Context: place(t, s), Key: []byte("k"), Version: s.oracle.take(1)}
	answer, err := s.execute(t.Context(), tikvrpc.CmdGet, request, request.Context)
	if err != nil {
		t.Fatal(err)
	}
	if failure := answer.(*kvrpcpb.GetResponse).Error; failure != nil {
		t.Fatalf("get: %v", failure)
	}
	return string(answer.(*kvrpcpb.GetResponse).Value)
}

func TestOnePhaseAskedAgainIsAnsweredAgain(t *testing.T) {
	s := start(t, Config{})
	startTS, slower := s.oracle.take(1), s.oracle.take(1)
	first := prewrite(t, s, startTS, "1")
	if first.OnePcCommitTs <= startTS {
		t.Fatalf("the commit: %v", first)
	}
	if again := prewrite(t, s, startTS, "1"); again.OnePcCommitTs != first.OnePcCommitTs || len(again.Errors) > 0 {
		t.Errorf("asked again: %v", again)
	}
	if late := prewrite(t, s, slower, "2"); len(late.Errors) != 1 || late.Errors[0].Conflict == nil || late.OnePcCommitTs != 0 {
		t.Errorf("one that began before the commit: %v", late)
	}
	if got := get(t, s); got != "1" {
		t.Errorf("the value is %q", got)
	}
}

func TestOnePhaseThatIsRefusedLeavesLocks(t *testing.T) {
	s := start(t, Config{TwoPhase: true})
	startTS := s.oracle.take(1)
	if answer := prewrite(t, s, startTS, "1"); answer.OnePcCommitTs != 0 || len(answer.Errors) > 0 {
		t.Fatalf("the prewrite: %v", answer)
	}
	request := &kvrpcpb.GetRequest{Context: place(t, s), Key: []byte("k"), Version: s.oracle.take(1)}
	answer, err := s.execute(t.Context(), tikvrpc.CmdGet, request, request.Context)
	if err != nil || answer.(*kvrpcpb.GetResponse).GetError().GetLocked() == nil {
		t.Errorf("a reader meets %v (%v), not a lock", answer, err)
	}
}

func TestUndeterminedTakesEffectHalfTheTime(t *testing.T) {
	s := start(t, Config{Faults: Faults{Undetermined: 1}, Seed: 1})
	const attempts = 100
	took := 0
	for range attempts {
		before := get(t, s)
		if answer := prewrite(t, s, s.oracle.take(1), before+"x"); answer != nil {
			t.Fatalf("it is answered %v", answer)
		}
		if get(t, s) != before {
			took++
		}
	}
	if took < attempts/4 || took > attempts*3/4 {
		t.Errorf("%d of %d took effect", took, attempts)
	}
	if n := s.Stats().Injected["undetermined"]; n != attempts {
		t.Errorf("%d are counted", n)
	}
}

func TestFaultsAreOrderedOverHTTP(t *testing.T) {
	s := start(t, Config{})
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	f := func(body string, status int) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL+"/fault", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := web.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s is answered %d, want %d", body, response.StatusCode, status)
		}
	}
	f(`{"slow":"300ms","region_errors":0.5}`, 200)
	f(`{"undetermined":0.25}`, 200)
	if got, want := s.Faults(), (Faults{Slow: 300 * time.Millisecond, Undetermined: 0.25, RegionErrors: 0.5}); got != want {
		t.Errorf("the faults are %+v, want %+v", got, want)
	}
	for _, bad := range []string{``, `{"slow":"x"}`, `{"slow":"-1s"}`, `{"slow":3}`, `{"fast":1}`, `{"undetermined":1.5}`, `{"region_errors":-1}`, `{}{}`, `{"outage":"1s","outage_of":"all"}`} {
		f(bad, 400)
	}
	f(`{"outage":"1h","outage_of":"kv"}`, 200)
	if s.pdGate.isShut() || !s.kvGate.isShut() {
		t.Error("an outage of the store befalls another")
	}
	f(`{"outage":"0s"}`, 200)
	if s.kvGate.isShut() {
		t.Error("the outage does not end")
	}
	f(`{"stall":"1h"}`, 200)
	if err := s.faults.pause(ended(t)); err == nil {
		t.Error("a stalled server answers")
	}
}

func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestStatsCountByKind(t *testing.T) {
	s := start(t, Config{Faults: Faults{RegionErrors: 1}})
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	for range 3 {
		if answer := prewrite(t, s, s.oracle.take(1), "1"); answer.RegionError == nil {
			t.Fatalf("it is answered %v", answer)
		}
	}
	f := func(path, method string) (out Stats) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := web.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if err := json.NewDecoder(response.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := f("/stats", http.MethodGet); got.KV["1pc"] != 3 || got.KVTotal != 3 || got.Injected["region_error"] != 3 {
		t.Errorf("%+v", got)
	}
	if got := f("/stats/reset", http.MethodPost); got.KVTotal != 0 || len(got.Injected) != 0 {
		t.Errorf("after the reset: %+v", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []Config{
		{PD: "127.0.0.1"},
		{PD: "0.0.0.0:0"},
		{PD: ":0"},
		{PD: "127.0.0.1:0", Regions: 300},
		{PD: "127.0.0.1:0", Faults: Faults{Undetermined: 2}},
		{PD: "127.0.0.1:0", Faults: Faults{Slow: -1}},
		{PD: "127.0.0.1:0", KV: "nowhere"},
	} {
		if s, err := Start(config); err == nil {
			_ = s.Close()
			t.Errorf("%+v is accepted", config)
		}
	}
}
