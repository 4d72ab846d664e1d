package scenario

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestEveryScenarioOfTheProgramIsValid(t *testing.T) {
	want := []string{"connect-storm", "dm-chat", "held-polls", "history-scan", "idle-connections", "idle-sweep", "million", "presence-churn", "presence-flap", "resume-storm", "server-50k", "slow-consumers"}
	if got := strings.Join(Names(), " "); got != strings.Join(want, " ") {
		t.Errorf("the scenarios are %s, want %s", got, want)
	}
	for _, name := range Names() {
		for _, quick := range []bool{false, true} {
			s, err := Open(name, quick)
			if err != nil {
				t.Errorf("%s (quick %t): %v", name, quick, err)
			} else if s.Name != name || s.About == "" {
				t.Errorf("%s.yaml is named %q and about %q", name, s.Name, s.About)
			}
		}
	}
}

func TestQuickAndChangesWinInThisOrder(t *testing.T) {
	file := []byte("{name: x, kind: chat, sessions: 10, rate_per_s: 5, quick: {sessions: 4, stages: {measure: 3s}}}")
	s, err := Parse(file, true, "rate_per_s: 7.5", "stages: {warm_up: 1s}")
	if err != nil {
		t.Fatal(err)
	}
	if s.Sessions != 4 || s.Rate != 7.5 || s.Stages.Measure != Duration(3*time.Second) || s.Stages.WarmUp != Duration(time.Second) {
		t.Errorf("got %+v", s)
	}
	if s, err = Parse(file, false); err != nil || s.Sessions != 10 || s.Stages.Measure != Duration(time.Minute) || s.Loop != LoopOpen {
		t.Errorf("without quick: %+v, %v", s, err)
	}
}

// good is a scenario, to which something bad is added.
const good = "name: x\nkind: chat\nsessions: 10\nrate_per_s: 5\n"

func wantRefusal(t *testing.T, data, want string) {
	t.Helper()
	_, err := Parse([]byte(data), false)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: the error is %v, want one with %q", data, err, want)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%q: the error has several lines: %q", data, err)
	}
}

func TestRefusalsOfProcessesStepsAndTargets(t *testing.T) {
	f := func(data, want string) { t.Helper(); wantRefusal(t, data, want) }
	f(good+"edges: 257\n", "there are 257 edges")
	f(good+"edges: -1\n", "there are -1 edges")
	f(good+"per_process: 1\n", "per_process is 1")
	f(good+"per_process: 5\nedges: 3\n", "leave those out")
	f(good+"per_process: 5\nagents: 3\n", "leave those out")
	f("name: x\nkind: idle\nsessions: 600\nper_process: 2\n", "there are 300 edges")
	f(good+"ping: 41s\n", "ping is 41s")
	f(good+"steps: 11\n", "steps is 11")
	f(good+"hold: 3s\n", "there are no steps")
	f(good+"memory_mib: 3\n", "there are none")
	f(good+"stages: {ramp: 3s}\n", "stages.ramp is 3s")
	f(good+"transport: pigeon\n", "one of websocket, longpoll")
	f(good+"transport: longpoll\n", "only the kind idle")
	f(good+"wait: 1500ms\n", "wait is 1.5s")
	f("name: x\nkind: idle\nsessions: 4\ntransport: longpoll\nencoding: json\n", "asked for in proto")
	f(good+"sdk_transport: pigeon\n", "one of websocket, longpoll, auto")
	f(good+"tokens: none\n", "one of eddsa, hs256")
	f(good+"cut: end\n", "only the kind resume")
	f(good+"targets: {sessions: 11}\n", "what the run asks for")
	f(good+"targets: {crossed: 0.5}\n", "at least two edge processes")
	f(good+"edges: 2\ntargets: {crossed: 1}\n", "to below 1")
	f(good+"targets: {resume: 5s}\n", "only the kind resume")
	f(good+"targets: {session_bytes: 5}\n", "needs three steps")
	f(good+"targets: {straight: 0.5}\n", "needs three steps")
	f(good+"targets: {straight: 1.5}\n", "must be 0 to 1")
	f(good+"targets: {ramp: -5s}\n", "targets.ramp")
	f("name: x\nkind: idle\nsessions: 4\ntargets: {messages: 4}\n", "the run sends none")
}

func TestRefusalsSayWhatIsWrong(t *testing.T) {
	if _, err := Parse([]byte(good), false); err != nil {
		t.Fatal(err)
	}
	f := func(data, want string) { t.Helper(); wantRefusal(t, data, want) }
	f(good+"sesions: 3\n", "there is no field sesions")
	f(good+"quick: {sesions: 3}\n", "there is no field sesions")
	f(good+"quick: {sessions: 3}\n", "needs an even number")
	f(good+"stages: {measure: 5}\n", "write it as 500ms")
	f(good+"stages: {measure: 5ms}\n", "at least 1s")
	f(good+"stages: {warm_up: -1s}\n", "stages.warm_up")
	f(good+"loop: half\n", "one of open, closed")
	f(good+"arrivals: bursts\n", "one of poisson, uniform")
	f(good+"encoding: xml\n", "one of json, proto")
	f(good+"loop: closed\n", "a closed loop needs 1 to 64")
	f(good+"in_flight: 3\n", "an open loop does not wait")
	f(good+"stages: {measure: 24h}\nquick: {rate_per_s: 100000}\n", "over the stages")
	f(good+"prefill: 3\n", "only the kind history")
	f(good+"slow_share: 0.1\n", "only the kind slow")
	f(good+"connect_per_s: .nan\n", "connect_per_s")
	f(good+"agents: 0\n", "there are 0 agents")
	f(good+"---\nname: y\n", "more follows")
	f("name: x\nkind: idle\nsessions: 3\nrate_per_s: 5\n", "works in pairs")
	f("name: x\nkind: idle\nsessions: 4\nrate_per_s: -5\n", "must be 0 to")
	f("name: X\nkind: idle\nsessions: 3\n", "lower-case")
	f("name: x\nkind: history\nsessions: 2\nrate_per_s: 5\n", "messages to read")
	f("name: x\nkind: slow\nsessions: 2\nrate_per_s: 5\n", "slow_share is 0")
	f(good+"flappers: 2\n", "only the kind flap")
	flap := "name: x\nkind: flap\nsessions: 10\nrate_per_s: 5\nflappers: 6\nflap_every: 1s\nwatchers: 4\nwatch_each: 6\nphase: 10s\n"
	f(strings.Replace(flap, "flappers: 6", "flappers: 10", 1), "two less than sessions")
	f(strings.Replace(flap, "every: 1s", "every: 1ms", 1), "flap_every is 1ms")
	f(strings.Replace(flap, "watchers: 4", "watchers: 5", 1), "that don't flap")
	f(strings.Replace(flap, "each: 6", "each: 7", 1), "watch_each is 7")
	f(strings.Replace(flap, "phase: 10s", "phase: 31s", 1), "at least two of them")
	f(flap+"agents: 2\n", "has one")
	f("name: x\nkind: slow\nsessions: 2\nrate_per_s: 5\nslow_share: 0.2\nslow_rate_per_s: 1\n", "that is none")
	f("name: x\nkind: slow\nsessions: 8\nrate_per_s: 5\nslow_share: 0.25\n", "slow_rate_per_s is 0")
	f("name: x\nkind: slow\nsessions: 8\nrate_per_s: 5\nslow_share: 0.25\nslow_rate_per_s: 2.5\n", "less than rate_per_s")
	f(good+"slow_rate_per_s: 1\n", "only the kind slow")
	f(good+"sdk_sessions: 3\n", "an even number")
	f("name: x\nkind: idle\nsessions: 2\nsdk_sessions: 2\n", "only the kinds chat and resume")
	f("name: x\nkind: chat\nsessions: 2\n", "needs a rate above 0")
	f("name: x\nkind: dance\nsessions: 0\n", "kind is \"dance\"")
	f("", "name is \"\"")
	f("- a", "unmarshal")
	if _, err := Open("dm-chatt", false); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "dm-chat,") {
		t.Errorf("an unknown name is answered with %v", err)
	}
	if _, err := Open("dm-chat", true, "rate_per_s: many"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a change that does not parse is answered with %v", err)
	}
}

func TestProcessesAreAsManyAsItTakes(t *testing.T) {
	f := func(sessions, perProcess, edges, agents, wantEdges, wantAgents int) {
		t.Helper()
		s := Scenario{Sessions: sessions, PerProcess: perProcess, Edges: edges, Agents: agents}
		if e, a := s.Processes(); e != wantEdges || a != wantAgents {
			t.Errorf("%d sessions, %d a process: %d edges and %d agents, want %d and %d", sessions, perProcess, e, a, wantEdges, wantAgents)
		}
	}
	f(1_000_000, 18_000, 0, 1, 56, 56)
	f(36_000, 18_000, 0, 1, 2, 2)
	f(36_001, 18_000, 0, 1, 3, 3)
	f(1, 18_000, 0, 1, 1, 1)
	f(51_000, 0, 3, 2, 3, 2)
	f(51_000, 0, 0, 1, 0, 1)
}
