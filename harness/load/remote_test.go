package load

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/scenario"
)

// listenForTest runs an agent until the test ends.
func listenForTest(t *testing.T, secret string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- ListenAgent(ctx, listener, []byte(secret), func(string) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func TestOnlyWhoKnowsTheSecretUsesAnAgent(t *testing.T) {
	address := listenForTest(t, "the secret of the test")
	for range 2 { // the agent goes on after a refusal
		if _, err := DialAgent(t.Context(), address, []byte("another secret of it")); !errors.Is(err, ErrSecret) {
			t.Errorf("a wrong secret is answered with %v", err)
		}
	}
	if _, err := DialAgent(t.Context(), address, []byte("short")); err == nil {
		t.Error("a short secret was taken")
	}
	conn, err := DialAgent(t.Context(), address, []byte("the secret of the test"))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// TestAnEchoOfTheGreetingIsNoProof: who sends back what it hears must not pass.
func TestAnEchoOfTheGreetingIsNoProof(t *testing.T) {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var echo net.Buffers
		b := make([]byte, nonceBytes)
		for range 2 {
			if _, err := io.ReadFull(far, b); err != nil {
				return
			}
			echo = net.Buffers{b}
			if _, err := echo.WriteTo(far); err != nil {
				return
			}
		}
	}()
	if _, err := greet(near, []byte("the secret of the test"), "coordinator", "agent"); !errors.Is(err, ErrSecret) {
		t.Errorf("an echo is answered with %v", err)
	}
	_ = near.Close()
	_ = far.Close()
	<-done
}

func TestTwoAgentsShareARun(t *testing.T) {
	t.Parallel() // waits for its stages most of the time
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	const secret = "the secret of the test"
	s, err := scenario.Parse([]byte(trialScenario), false, "stages: {measure: 1s}")
	if err != nil {
		t.Fatal(err)
	}
	server, err := startFakeServer(faultLoss)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	run, err := Run(t.Context(), Config{
		Scenario: s, Endpoint: Endpoint{URL: server.url()}, Dir: t.TempDir(), fair: true,
		Tokens:   func(users []string) ([]string, error) { return users, nil },
		Progress: record.NewProgress(io.Discard, time.Now),
		Remote:   []string{listenForTest(t, secret), listenForTest(t, secret)}, Secret: []byte(secret),
	})
	if !errors.Is(err, ErrFailed) || run == nil || run.Verify.Lost == 0 {
		t.Fatalf("a message lost at a fake server is answered with %v, %+v", err, run)
	}
	t.Log("caught: ", strings.Join(run.Verify.Problems, "; "))
	measure := run.Stages[stageMeasure]
	if run.Settings.Agents != 2 || measure.Scheduled < 300 || measure.Succeeded != measure.Scheduled || run.Latencies["send→stored"].Count != measure.Succeeded {
		t.Errorf("%d agents, measure %+v, stored %d", run.Settings.Agents, measure, run.Latencies["send→stored"].Count)
	}
}
