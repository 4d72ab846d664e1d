// Package scenario reads what a load test shall do: YAML files with a strict
// schema, the ones that come with the program among them, and what flags change
// in them. It knows what may be asked for and which combinations make sense; it
// refuses to know how load is made or measured.
package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kinds of scenarios: what the operations of the measure stage are.
const (
	KindIdle    = "idle"    // none: sessions only sit there; with a rate, a few get a message
	KindConnect = "connect" // a session connects anew
	KindChat    = "chat"    // a durable message to the sender's partner
	KindResume  = "resume"  // chat, and then every session is cut at once and resumes
	KindSlow    = "slow"    // chat with recipients of whom some stop reading
	KindHistory = "history" // a page of a conversation's history
	KindFlap    = "flap"    // chat while others come and go, and are watched
)

// Loops.
const (
	LoopOpen   = "open"   // operations are due by a schedule, answered or not
	LoopClosed = "closed" // an operation begins when one is answered
)

// Arrivals of the open loop.
const (
	ArrivalsPoisson = "poisson"
	ArrivalsUniform = "uniform"
)

// Moments of the cut of the kind resume.
const (
	CutMiddle = "middle" // of measure: its latencies are those of a storm
	CutEnd    = "end"    // of measure: its latencies are undisturbed, the storm falls into cool-down
)

// Ways to a server.
const (
	TransportWebSocket = "websocket"
	TransportLongPoll  = "longpoll" // GET /v1/poll, held
	TransportAuto      = "auto"     // of the Go SDK: a WebSocket, or else long-polls
)

// Tokens of the sessions.
const (
	TokensEdDSA = "eddsa" // minted beforehand with the server's development key
	TokensHS256 = "hs256" // minted by the agents when they connect: a tenth of the CPU time on both sides
)

// Encodings of godwit.v1.
const (
	EncodingJSON  = "json"
	EncodingProto = "proto"
)

// Scenario is one load test.
type Scenario struct {
	Name     string `yaml:"name"`
	About    string `yaml:"about"` // a sentence for people
	Kind     string `yaml:"kind"`
	Loop     string `yaml:"loop"`
	Arrivals string `yaml:"arrivals"`
	Encoding string `yaml:"encoding"`
	Seed     uint64 `yaml:"seed"`

	Sessions    int     `yaml:"sessions"`      // one of each user
	ConnectRate float64 `yaml:"connect_per_s"` // of the ramp
	Rate        float64 `yaml:"rate_per_s"`    // operations of all sessions together; open loop
	InFlight    int     `yaml:"in_flight"`     // operations each session keeps unanswered; closed loop
	Prefill     int     `yaml:"prefill"`       // messages of each conversation stored before the measure stage
	SlowShare   float64 `yaml:"slow_share"`    // of the sessions, which stop reading after a third of measure
	// SlowRate is how many of the Rate operations a second go to each slow session.
	SlowRate float64 `yaml:"slow_rate_per_s"`
	// Of the kind flap: the last sessions come and go, each once in FlapEvery, in
	// every second Phase of measure; the first Watchers each watch WatchEach of them.
	Flappers  int      `yaml:"flappers"`
	FlapEvery Duration `yaml:"flap_every"`
	Watchers  int      `yaml:"watchers"`
	WatchEach int      `yaml:"watch_each"`
	Phase     Duration `yaml:"phase"`
	Agents    int      `yaml:"agents"` // generator processes
	// Edges is how many edge processes of the server share its port; 0: the server
	// itself holds the clients.
	Edges int `yaml:"edges"`
	// PerProcess, if not 0, makes as many agents and edge processes as it takes for
	// none to have many more sessions: a process may only open so many files.
	PerProcess int      `yaml:"per_process"`
	Ping       Duration `yaml:"ping"`      // mean time between the server's pings; 0s: its default
	Transport  string   `yaml:"transport"` // of the sessions
	Wait       Duration `yaml:"wait"`      // how long the server may hold a long-poll, whole seconds
	Tokens     string   `yaml:"tokens"`
	// Steps of the ramp; after each the server rests and the cost of a session is
	// taken: memory, and CPU over the second half of Hold, which should last for
	// two pings.
	Steps int      `yaml:"steps"`
	Hold  Duration `yaml:"hold"`
	// MemoryMiB bounds what the run takes of the machine's memory, both ends and the
	// kernel's part: no step is begun that would exceed it. 0: no bound.
	MemoryMiB int    `yaml:"memory_mib"`
	Cut       string `yaml:"cut"` // when all sessions are cut; of the kind resume
	// SDKSessions are driven by the Go SDK beside the others, each sending at a
	// small rate of its own; they are cut and reconnect as a client does.
	SDKSessions  int    `yaml:"sdk_sessions"`
	SDKTransport string `yaml:"sdk_transport"` // websocket, longpoll, or auto, which falls back to long-polls
	Corpus       string `yaml:"corpus"`        // file with a text a line; empty: the built-in one

	Stages  Stages  `yaml:"stages"`
	Targets Targets `yaml:"targets"`
}

// Stages are the lengths of a run's parts. The ramp lasts until every session is
// connected; no step of it is begun after Ramp (0s: no bound). Verify bounds the
// wait for what is still on its way.
type Stages struct {
	Ramp     Duration `yaml:"ramp"`
	WarmUp   Duration `yaml:"warm_up"`
	Measure  Duration `yaml:"measure"`
	CoolDown Duration `yaml:"cool_down"`
	Verify   Duration `yaml:"verify"`
}

// Duration is a time.Duration written as in Go: 1m30s.
type Duration time.Duration

// UnmarshalText reads "1m30s".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it as 500ms, 20s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the form UnmarshalText reads.
func (d Duration) String() string { return time.Duration(d).String() }

// defaults are what a file need not say.
func defaults() Scenario {
	return Scenario{
		Loop: LoopOpen, Arrivals: ArrivalsPoisson, Encoding: EncodingProto, Seed: 1,
		ConnectRate: 1000, Agents: 1, Transport: TransportWebSocket, SDKTransport: TransportWebSocket, Tokens: TokensEdDSA, Cut: CutMiddle, Wait: Duration(25 * time.Second),
		Stages: Stages{
			WarmUp: Duration(5 * time.Second), Measure: Duration(time.Minute),
			CoolDown: Duration(2 * time.Second), Verify: Duration(30 * time.Second),
		},
	}
}

// Limits that keep a typing mistake from taking the machine.
const (
	sessionsMax = 2_000_000
	rateMax     = 10_000_000
	agentsMax   = 1000
	edgesMax    = 256
	stepsMax    = 200
	memoryMax   = 64 << 20 // MiB
	sdkMax      = 1000
	plannedMax  = 200_000_000 // operations of an open loop: they are planned beforehand, 16 bytes each
	stageMax    = Duration(24 * time.Hour)
)

// Sends reports whether the measure stage stores messages.
func (s *Scenario) Sends() bool {
	return s.Kind == KindChat || s.Kind == KindResume || s.Kind == KindSlow || s.Kind == KindFlap || s.Kind == KindIdle && s.Rate > 0
}

// Paired reports whether every session has a partner it writes to.
func (s *Scenario) Paired() bool { return s.Sends() || s.Kind == KindHistory }

// Validate returns every rule the scenario breaks, as one sentence each.
func (s *Scenario) Validate() error {
	var wrong []string
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	oneOf := func(field, value string, allowed ...string) {
		refuse(!slices.Contains(allowed, value), "%s is %q; it must be one of %s.", field, value, strings.Join(allowed, ", "))
	}
	refuse(!validName(s.Name), "name is %q; it must be lower-case letters, digits and dashes.", s.Name)
	oneOf("kind", s.Kind, KindIdle, KindConnect, KindChat, KindResume, KindSlow, KindHistory, KindFlap)
	oneOf("loop", s.Loop, LoopOpen, LoopClosed)
	oneOf("arrivals", s.Arrivals, ArrivalsPoisson, ArrivalsUniform)
	oneOf("encoding", s.Encoding, EncodingJSON, EncodingProto)
	oneOf("transport", s.Transport, TransportWebSocket, TransportLongPoll)
	oneOf("sdk_transport", s.SDKTransport, TransportWebSocket, TransportLongPoll, TransportAuto)
	oneOf("tokens", s.Tokens, TokensEdDSA, TokensHS256)
	oneOf("cut", s.Cut, CutMiddle, CutEnd)
	refuse(s.Sessions < 1 || s.Sessions > sessionsMax, "sessions is %d; it must be 1 to %d.", s.Sessions, sessionsMax)
	refuse(s.Paired() && s.Sessions%2 != 0, "sessions is %d; the kind %s works in pairs and needs an even number.", s.Sessions, s.Kind)
	refuse(!(s.ConnectRate > 0 && s.ConnectRate <= rateMax), "connect_per_s is %g; it must be above 0 and at most %d.", s.ConnectRate, rateMax)
	refuse(s.SDKSessions < 0 || s.SDKSessions > sdkMax || s.SDKSessions%2 != 0, "sdk_sessions is %d; it must be an even number of 0 to %d.", s.SDKSessions, sdkMax)
	refuse(s.SDKSessions > 0 && s.Kind != KindChat && s.Kind != KindResume, "sdk_sessions is %d; only the kinds chat and resume have such sessions, leave it out.", s.SDKSessions)
	refuse(s.Stages.Measure < Duration(time.Second), "stages.measure is %s; it must be at least 1s.", s.Stages.Measure)
	for name, d := range map[string]Duration{"warm_up": s.Stages.WarmUp, "measure": s.Stages.Measure, "cool_down": s.Stages.CoolDown, "verify": s.Stages.Verify, "ramp": s.Stages.Ramp} {
		refuse(d < 0 || d > stageMax, "stages.%s is %s; it must be 0s to %s.", name, d, stageMax)
	}
	s.validateLoad(refuse)
	s.validateFlaps(refuse)
	s.validateProcesses(refuse)
	s.Targets.validate(s, refuse)
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(wrong, " "))
}

// SlowSessions is how many of the sessions are slow.
func (s *Scenario) SlowSessions() int { return int(s.SlowShare * float64(s.Sessions)) }

// validateLoad checks what depends on the kind and the loop.
func (s *Scenario) validateLoad(refuse func(bad bool, format string, args ...any)) {
	works := s.Kind != KindIdle
	open := s.Loop == LoopOpen
	refuse(works && open && !(s.Rate > 0 && s.Rate <= rateMax), "rate_per_s is %g; an open loop needs a rate above 0 and at most %d.", s.Rate, rateMax)
	planned := s.Rate * time.Duration(s.Stages.WarmUp+s.Stages.Measure+s.Stages.CoolDown).Seconds()
	refuse(open && planned > plannedMax, "rate_per_s is %g; over the stages that is more than %d operations.", s.Rate, plannedMax)
	refuse(!works && !(s.Rate >= 0 && s.Rate <= rateMax), "rate_per_s is %g; it must be 0 to %d.", s.Rate, rateMax)
	refuse(s.Cut != CutMiddle && s.Kind != KindResume, "cut is %s; only the kind resume cuts its sessions, leave it out.", s.Cut)
	refuse(s.Transport == TransportLongPoll && (works || s.Rate != 0), "transport is %s; only the kind idle without a rate can have it.", s.Transport)
	refuse(!works && !open, "loop is closed; the kind idle has no operations to wait for.")
	refuse(!open && (s.InFlight < 1 || s.InFlight > 64), "in_flight is %d; a closed loop needs 1 to 64.", s.InFlight)
	refuse(!open && s.Rate != 0, "rate_per_s is %g; a closed loop goes as fast as it is answered, leave it out.", s.Rate)
	refuse(open && s.InFlight != 0, "in_flight is %d; an open loop does not wait for answers, leave it out.", s.InFlight)
	refuse(!open && !s.Sends(), "loop is closed; only the kinds that send messages can run in a closed loop.")
	refuse(s.Kind == KindHistory && (s.Prefill < 1 || s.Prefill > 100_000), "prefill is %d; the kind history needs 1 to 100000 messages to read.", s.Prefill)
	refuse(s.Kind != KindHistory && s.Prefill != 0, "prefill is %d; only the kind history reads prefilled messages, leave it out.", s.Prefill)
	refuse(s.Kind == KindSlow && !(s.SlowShare > 0 && s.SlowShare <= 0.25), "slow_share is %g; the kind slow needs a share above 0 and at most 0.25.", s.SlowShare)
	toSlow := s.SlowRate * float64(s.SlowSessions())
	refuse(s.Kind == KindSlow && s.SlowSessions() < 1, "slow_share is %g; of %d sessions that is none.", s.SlowShare, s.Sessions)
	refuse(s.Kind == KindSlow && open && !(s.SlowRate > 0 && toSlow < s.Rate), "slow_rate_per_s is %g; it must be above 0, and to %d slow sessions less than rate_per_s.", s.SlowRate, s.SlowSessions())
	refuse(s.SlowRate != 0 && (s.Kind != KindSlow || !open), "slow_rate_per_s is %g; only the kind slow in an open loop has it, leave it out.", s.SlowRate)
	refuse(s.Kind != KindSlow && s.SlowShare != 0, "slow_share is %g; only the kind slow has slow sessions, leave it out.", s.SlowShare)
}

func (s *Scenario) validateFlaps(refuse func(bad bool, format string, args ...any)) {
	if s.Kind != KindFlap {
		refuse(s.Flappers != 0 || s.FlapEvery != 0 || s.Watchers != 0 || s.WatchEach != 0 || s.Phase != 0, "kind is %s; only the kind flap has flappers, flap_every, watchers, watch_each and phase, leave them out.", s.Kind)
		return
	}
	refuse(s.Flappers < 2 || s.Flappers%2 != 0 || s.Flappers > s.Sessions-2, "flappers is %d; it must be an even number of 2 to two less than sessions.", s.Flappers)
	refuse(s.FlapEvery < Duration(100*time.Millisecond) || s.FlapEvery > Duration(time.Hour), "flap_every is %s; it must be 100ms to 1h.", s.FlapEvery)
	refuse(s.Watchers < 0 || s.Watchers > s.Sessions-s.Flappers, "watchers is %d; it must be 0 to the sessions that don't flap.", s.Watchers)
	refuse(s.WatchEach < 0 || s.WatchEach > min(s.Flappers, 500), "watch_each is %d; it must be 0 to 500 and no more than there are flappers.", s.WatchEach)
	refuse(s.Phase < Duration(5*time.Second) || s.Phase*2 > s.Stages.Measure, "phase is %s; it must be at least 5s, and measure at least two of them.", s.Phase)
	refuse(s.Loop != LoopOpen, "loop is %s; the kind flap needs an open one.", s.Loop)
	refuse(s.Agents != 1 || s.PerProcess != 0, "agents is %d; the kind flap has one.", s.Agents)
}

func validName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
