package load

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net"
	"testing"

	"github.com/godwit-im/godwit/harness/scenario"
)

// bytesOnly is a peer that said all it has to say.
type bytesOnly struct {
	io.Reader
	io.Writer
}

func (bytesOnly) Close() error { return nil }

// FuzzAgent: a coordinator may say anything; the agent answers and ends.
// What makes it work is FuzzPlan's.
func FuzzAgent(f *testing.F) {
	f.Add([]byte(`{"method":"Agent.Usage","params":[{}],"id":1}{"method":"Agent.Halt","params":[{}],"id":2}`))
	f.Add([]byte(`{"method":"Agent.Drive","params":[200000000],"id":1}`))
	f.Add([]byte(`{"method":"Agent.Ramp","params":[{"From":-1,"To":9}],"id":[{}]}`))
	f.Add([]byte(`{"method":".","params":null,"id":1}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, said []byte) {
		if bytes.Contains(said, []byte("repare")) {
			return // would look up and read what it is told to
		}
		if err := ServeAgent(bytesOnly{bytes.NewReader(said), io.Discard}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzPlan: a share of a run is refused, or the agent can work with it.
func FuzzPlan(f *testing.F) {
	s, err := scenario.Parse([]byte(trialScenario), false)
	if err != nil {
		f.Fatal(err)
	}
	good := Plan{Scenario: s, RunID: 7, Prefix: "u", Sessions: 2, Tokens: []string{"a", "b"}, Rate: 400, Connect: 1000, Seed: 1}
	for _, change := range []func(p *Plan){
		func(*Plan) {},
		func(p *Plan) { p.First = 1<<32 - 2 },
		func(p *Plan) {
			p.First, p.Sessions, p.Tokens, p.Secret = 1<<32-2, 4, nil, []byte("secret")
		},
		func(p *Plan) { p.Slow = -3 },
		func(p *Plan) { p.Tokens = p.Tokens[:1] },
		func(p *Plan) { p.Rate, p.Connect = 1e300, -1 },
	} {
		p := good
		change(&p)
		text, err := json.Marshal(&p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Plan
		if json.Unmarshal(text, &p) != nil {
			return
		}
		p.Scenario.Corpus, p.URL = "", "ws://127.0.0.1:1/v1/ws"
		if p.Sessions > 1000 {
			return // would take memory for all of them
		}
		a := &agentCalls{&Agent{}}
		defer a.close()
		if a.Prepare(&p, &None{}) != nil {
			return
		}
		l, sc := a.loop, &a.plan.Scenario
		if n := len(l.sessions); l.slow.sessions < 0 || l.slow.sessions > 0 && 2*l.slow.sessions >= n || uint64(l.first)+uint64(n) > 1<<32 {
			t.Fatalf("%d sessions from %d on, %d of them slow", n, l.first, l.slow.sessions)
		}
		if !(a.plan.Rate >= 0 && a.plan.Connect > 0) || math.IsInf(a.plan.Rate+a.plan.Connect, 0) {
			t.Fatalf("rates %v and %v", a.plan.Rate, a.plan.Connect)
		}
		if err := a.Ramp(&Step{To: p.Sessions + 1}, &None{}); err == nil {
			t.Fatal("more sessions than there are were ramped up")
		}
		if sc.Kind != scenario.KindIdle && sc.Loop == scenario.LoopOpen && a.plan.Rate > 0 {
			const second = 1e9
			for _, at := range planArrivals(sc.Arrivals, min(a.plan.Rate, 1000), second, len(l.sessions), l.seed) {
				if int(at.actor) >= len(l.sessions) {
					t.Fatalf("session %d of %d has something to do", at.actor, len(l.sessions))
				}
			}
			if sc.Kind == scenario.KindSlow && l.slow.sessions > 0 {
				for _, at := range l.planSlow(sc.Arrivals, 1000, 1000/float64(2*l.slow.sessions), second) {
					if int(at.actor) >= len(l.sessions) || l.isSlow(at.actor) {
						t.Fatalf("session %d of %d with %d slow ones sends", at.actor, len(l.sessions), l.slow.sessions)
					}
				}
			}
		}
		var r Report
		if err := a.Finish(&None{}, &r); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzGreeting: nothing but the proof is let in.
func FuzzGreeting(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, nonceBytes+32))
	f.Fuzz(func(t *testing.T, said []byte) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.CopyN(io.Discard, far, nonceBytes)
			_, _ = far.Write(said)
			_ = far.Close()
		}()
		if _, err := greet(near, []byte("the secret of the test"), "agent", "coordinator"); err == nil {
			t.Fatalf("%x was let in", said)
		}
		_ = near.Close()
		<-done
	})
}
