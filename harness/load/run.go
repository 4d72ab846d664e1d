package load

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
	"github.com/godwit-im/godwit/harness/scenario"
)

// How a run fails whose result is complete.
var (
	ErrFailed = errors.New("the run failed its checks")  // something the server promised was not kept
	ErrMissed = errors.New("the run missed its targets") // all was kept, and it was less than the scenario asks for
)

// Config is one run.
type Config struct {
	Scenario scenario.Scenario
	Endpoint Endpoint
	Dir      string // on the file system of the server's store, for the fsync probe
	Server   result.ServerFacts
	Command  string // to repeat the run

	// Tokens mints one token for each user, in their order. TokenSecret lets the
	// agents mint instead, see Minter; then Tokens is for the sessions of the SDK.
	Tokens      func(users []string) ([]string, error)
	TokenSecret []byte
	Progress    *record.Progress
	// Before is the machine's memory before the server was started; zero: Run looks.
	Before record.Memory

	// Agents are children of this process: Program with ProgramArgs must call
	// ServeAgent on its standard input and output. Without Program the only agent
	// is in this process, and shares its time with the SDK's sessions. Remote names hosts where
	// ListenAgent runs instead, and Secret is what they know.
	Program     string
	ProgramArgs []string
	Remote      []string
	Secret      []byte

	fair         bool                          // the server is in this process, in memory: no priority over it, no disk to probe
	stepPatience time.Duration                 // 0: the constant
	memory       func() (record.Memory, error) // of the machine; nil: as it is
	hinder       time.Duration                 // a planted fault: the generator stops so long, once a second
}

// Endpoint is the server of the run.
type Endpoint struct {
	URL     string // ws://host:port/v1/ws
	Metrics string // of its /metrics; "": not scraped
	PID     int    // on this machine; 0: its memory and CPU are not known
	Edges   string // http://… that lists its edge processes; "": it has none
}

// process is one of the server's.
type process struct {
	name     string
	metrics  string // of its /metrics; "": not scraped
	pid      int    // 0: not known
	sessions int    // as its clients know, at the end of the ramp
}

func (c *Config) validate() error {
	if c.Tokens == nil || c.Progress == nil || c.Dir == "" {
		return errors.New("load: Tokens, Progress and Dir are required")
	}
	edges, agents := c.Scenario.Processes()
	if agents > 1 && len(c.Remote) == 0 && c.Program == "" {
		return errors.New("load: several agents need Program")
	}
	if edges > 0 && c.Endpoint.Edges == "" {
		return fmt.Errorf("the scenario wants %d edge processes, and the server has no list of them", edges)
	}
	if c.Scenario.Tokens == scenario.TokensHS256 && len(c.TokenSecret) == 0 {
		return errors.New("the scenario wants tokens of HS256, and there is no secret to sign them with")
	}
	return c.Scenario.Validate()
}

// target is where the sessions connect to.
type target struct {
	address    netip.AddrPort
	host, path string
}

// parseTarget resolves a server's address once, so that no connect waits for it.
func parseTarget(address string) (t target, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return t, fmt.Errorf("the server's address: %w", err)
	}
	if u.Scheme != "ws" || u.Port() == "" {
		return t, fmt.Errorf("the server's address is %q; it must be like ws://127.0.0.1:8080/v1/ws: the generator speaks no TLS, point it behind the proxy", address)
	}
	resolved, err := net.ResolveTCPAddr("tcp", u.Host)
	if err != nil {
		return t, fmt.Errorf("the server's address: %w", err)
	}
	ip, _ := netip.AddrFromSlice(resolved.IP)
	t = target{address: netip.AddrPortFrom(ip.Unmap(), uint16(resolved.Port)), host: u.Host, path: u.RequestURI()}
	return t, nil
}

// measurement is what the coordinator notes around the measure stage.
type measurement struct {
	before, after map[string]float64 // sums over the server's processes
	server        [2][]record.Usage  // of each process
	generator     [2]record.Usage
	machine       [2]float64 // CPU seconds of everything on it
	err           error
}

// others is the share of the machine's CPU time that went elsewhere.
func (m *measurement) others(u *result.Usage, available float64) float64 {
	used := m.machine[1] - m.machine[0] - u.ServerCPUSeconds - u.GeneratorCPUSeconds
	if available <= 0 {
		return 0
	}
	return min(max(used/available, 0), 1)
}

// fill writes the measurement into the result.
func (m *measurement) fill(run *result.Run, processes []process, messages uint64) {
	u := &run.Usage
	u.Before, u.After = m.before, m.after
	for i := range processes {
		one := result.ProcessUsage{Name: processes[i].name, Sessions: processes[i].sessions}
		if processes[i].pid != 0 {
			one.CPUSeconds, one.RSSBytes = m.server[1][i].CPUSeconds-m.server[0][i].CPUSeconds, m.server[1][i].RSSBytes
		}
		u.ServerCPUSeconds, u.ServerRSSBytes = u.ServerCPUSeconds+one.CPUSeconds, u.ServerRSSBytes+one.RSSBytes
		if len(processes) > 1 {
			u.Processes = append(u.Processes, one)
		}
	}
	u.GeneratorCPUSeconds = m.generator[1].CPUSeconds - m.generator[0].CPUSeconds
	u.GeneratorRSSBytes = m.generator[1].RSSBytes
	if messages > 0 {
		u.ServerCPUPerMessage = u.ServerCPUSeconds * 1e6 / float64(messages)
	}
}

// Positions of the latencies in the recorder.
const (
	latencyStored = iota
	latencyDelivered
	latencyConnect
	latencyResume
	latencyHistory
	latencyBefore   // of kind slow: while all read
	latencyBeside   // of kind slow: while some do not
	latencySlow     // of kind slow: to those that do not; their own doing
	latencyQuiet    // of kind flap: while nobody flaps
	latencyFlapping // of kind flap: while some do
)

var latencyNames = []string{"send→stored", "send→delivered", "connect", "resume", "history", othersBefore, othersBeside, toSlow, nobodyFlaps, besideFlaps}

// These stand in result.Slow and result.Flap instead of among the latencies.
const (
	othersBefore = "send→delivered, all read"
	othersBeside = "send→delivered, beside slow sessions"
	toSlow       = "send→delivered, to slow sessions"
	nobodyFlaps  = "send→delivered, nobody flaps"
	besideFlaps  = "send→delivered, beside flapping"
)

// mainLatency is the one whose percentiles stand in the series.
func mainLatency(kind string) int {
	switch kind {
	case scenario.KindIdle, scenario.KindConnect:
		return latencyConnect
	case scenario.KindHistory:
		return latencyHistory
	}
	return latencyDelivered
}

// settings copies into the result what was asked for.
func settings(s *scenario.Scenario, c *Corpus) result.Settings {
	arrivals := s.Arrivals
	if s.Loop == scenario.LoopClosed {
		arrivals = "" // whoever is answered asks again
	}
	edges, agents := s.Processes()
	return result.Settings{
		Loop: s.Loop, Arrivals: arrivals, Seed: s.Seed, Sessions: s.Sessions, SDKSessions: s.SDKSessions, Edges: edges, Rate: s.Rate, Encoding: s.Encoding,
		Transport: s.Transport, Tokens: s.Tokens, PingSeconds: time.Duration(s.Ping).Seconds(),
		Agents: agents, Corpus: c.Name, BodyP50: c.P50, BodyP99: c.P99, BodyMax: c.Max,
	}
}
