package load

import (
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// runOnFake runs a scenario against a fake server that does everything right.
func runOnFake(t *testing.T, changes ...string) *result.Run {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	s, err := scenario.Parse([]byte(trialScenario), false, changes...)
	if err != nil {
		t.Fatal(err)
	}
	server, err := startFakeServer(faultNone)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	run, err := Run(t.Context(), Config{
		Scenario: s, Servers: []Endpoint{{URL: server.url()}}, Dir: t.TempDir(), fair: true,
		Tokens:   func(_ int, users []string) ([]string, error) { return users, nil },
		Progress: record.NewProgress(io.Discard, time.Now),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Validate(); err != nil {
		t.Errorf("the result is not in order: %v", err)
	}
	return run
}

func TestClosedLoopIsLabelledAndComplete(t *testing.T) {
	run := runOnFake(t, "loop: closed", "in_flight: 2", "rate_per_s: 0", "stages: {measure: 1s}")
	measure := run.Stages[stageMeasure]
	if run.Settings.Loop != scenario.LoopClosed || run.Settings.Arrivals != "" {
		t.Errorf("the run says loop %q, arrivals %q", run.Settings.Loop, run.Settings.Arrivals)
	}
	if measure.Succeeded == 0 || measure.Succeeded != measure.Scheduled || run.Verify.ReadBack != run.Verify.Delivered {
		t.Errorf("measure %+v, verify %+v", measure, run.Verify)
	}
}

func TestHistoryScanReadsWhatWasPrefilled(t *testing.T) {
	run := runOnFake(t, "kind: history", "prefill: 120", "rate_per_s: 100", "stages: {measure: 1s}")
	if n := run.Latencies["history"].Count; n == 0 || n != run.Stages[stageMeasure].Succeeded {
		t.Errorf("%d pages measured, stage %+v", n, run.Stages[stageMeasure])
	}
	if want := uint64(20 * 60); run.Verify.Acked != want || run.Verify.Delivered != 2*want {
		t.Errorf("prefilled %d, delivered %d, want %d and twice that", run.Verify.Acked, run.Verify.Delivered, want)
	}
}

func TestIdleSessionsMustAnswerAtTheEnd(t *testing.T) {
	run := runOnFake(t, "kind: idle", "rate_per_s: 0", "sessions: 31", "stages: {measure: 1s}")
	if verify := run.Stages[stageVerify]; verify.Succeeded != 31 || run.Stages[stageRamp].Succeeded != 31 {
		t.Errorf("of 31 sessions %d were connected and %d answered", run.Stages[stageRamp].Succeeded, verify.Succeeded)
	}
}

// TestServersShareTheSessions: two servers that know nothing of each other carry
// one run, whoever drives the sessions, only if partners are on the same one.
func TestServersShareTheSessions(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	s, err := scenario.Parse([]byte(trialScenario), false, "kind: resume", "servers: 2", "sdk_sessions: 4", "stages: {measure: 1s}")
	if err != nil {
		t.Fatal(err)
	}
	var servers []*fakeServer
	var endpoints []Endpoint
	for range 2 {
		server, err := startFakeServer(faultNone)
		if err != nil {
			t.Fatal(err)
		}
		defer server.close()
		servers, endpoints = append(servers, server), append(endpoints, Endpoint{URL: server.url(), PID: os.Getpid()})
	}
	minted := [2]int{}
	run, err := Run(t.Context(), Config{
		Scenario: s, Servers: endpoints, Dir: t.TempDir(), fair: true,
		Tokens: func(server int, users []string) ([]string, error) {
			minted[server] += len(users)
			return users, nil
		},
		Progress: record.NewProgress(io.Discard, time.Now),
	})
	if err != nil {
		t.Fatal(err, run.Verify)
	}
	if n := run.Stages[stageMeasure]; n.Scheduled == 0 || n.Succeeded != n.Scheduled {
		t.Errorf("measure %+v", n)
	}
	if run.SDK.Acked == 0 || run.SDK.Delivered != 2*run.SDK.Acked || run.SDK.Cut != 4 || run.SDK.Reconnects < 4 {
		t.Errorf("the SDK: %+v", run.SDK)
	}
	if u := run.Usage; len(u.Servers) != 2 || u.ServerRSSBytes != u.Servers[0].RSSBytes+u.Servers[1].RSSBytes || u.Servers[0].RSSBytes == 0 {
		t.Errorf("usage %+v of all, %+v of each", u.ServerRSSBytes, u.Servers)
	}
	for i, server := range servers {
		server.mu.Lock()
		users, messages := len(server.logs), server.numbers
		server.mu.Unlock()
		if users != 12 || minted[i] != 12 || messages == 0 {
			t.Errorf("server %d has %d users, %d tokens, %d messages; want 12 of each 24", i, users, minted[i], messages)
		}
	}
}

func TestAScenarioOfSeveralServersNeedsThemAll(t *testing.T) {
	s, err := scenario.Parse([]byte(trialScenario), false, "servers: 2")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), Config{
		Scenario: s, Servers: make([]Endpoint, 1), Dir: t.TempDir(), Progress: record.NewProgress(io.Discard, time.Now),
		Tokens: func(_ int, users []string) ([]string, error) { return users, nil },
	})
	if err == nil || runtime.GOOS == "linux" && !strings.Contains(err.Error(), "wants 2 servers") {
		t.Errorf("one server for two: %v", err)
	}
}
