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

// ErrFailed marks a run in which something promised was not kept.
var ErrFailed = errors.New("the run failed its checks")

// Config is one run.
type Config struct {
	Scenario scenario.Scenario
	Servers  []Endpoint // as many as the scenario says
	Dir      string     // on the file system of the servers' stores, for the fsync probe
	Server   result.ServerFacts
	Command  string // to repeat the run

	// Tokens mints one token for each user, in their order, for the server of
	// that position.
	Tokens   func(server int, users []string) ([]string, error)
	Progress *record.Progress

	// Agents are children of this process: Program with ProgramArgs must call
	// ServeAgent on its standard input and output. Without Program the only agent
	// is in this process, and shares its time with the SDK's sessions. Remote names hosts where
	// ListenAgent runs instead, and Secret is what they know.
	Program     string
	ProgramArgs []string
	Remote      []string
	Secret      []byte

	fair   bool          // no priority over the server, which is in this process
	hinder time.Duration // a planted fault: the generator stops so long, once a second
}

// Endpoint is a server of the run, which knows nothing of the others.
type Endpoint struct {
	URL     string // ws://host:port/v1/ws
	Metrics string // of its /metrics; "": not scraped
	PID     int    // on this machine; 0: its memory and CPU are not known
}

// serverOf returns the server of a user: partners are on the same one.
func serverOf(user uint32, servers int) int { return int(user/2) % servers }

func (c *Config) validate() error {
	if c.Tokens == nil || c.Progress == nil || c.Dir == "" {
		return errors.New("load: Tokens, Progress and Dir are required")
	}
	if c.Scenario.Agents > 1 && len(c.Remote) == 0 && c.Program == "" {
		return errors.New("load: several agents need Program")
	}
	if len(c.Servers) != c.Scenario.Servers {
		return fmt.Errorf("the scenario wants %d servers, there are %d", c.Scenario.Servers, len(c.Servers))
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
	before, after map[string]float64 // sums over the servers
	server        [2][]record.Usage
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
func (m *measurement) fill(run *result.Run, servers []Endpoint, messages uint64) {
	u := &run.Usage
	u.Before, u.After = m.before, m.after
	for i := range servers {
		one := result.ServerUsage{URL: servers[i].URL}
		if servers[i].PID != 0 {
			one.CPUSeconds, one.RSSBytes = m.server[1][i].CPUSeconds-m.server[0][i].CPUSeconds, m.server[1][i].RSSBytes
		}
		u.ServerCPUSeconds, u.ServerRSSBytes = u.ServerCPUSeconds+one.CPUSeconds, u.ServerRSSBytes+one.RSSBytes
		if len(servers) > 1 {
			u.Servers = append(u.Servers, one)
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
	latencyBefore // of kind slow: while all read
	latencyBeside // of kind slow: while some do not
	latencySlow   // of kind slow: to those that do not; their own doing
)

var latencyNames = []string{"send→stored", "send→delivered", "connect", "resume", "history", othersBefore, othersBeside, toSlow}

// These stand in result.Slow instead of among the latencies.
const (
	othersBefore = "send→delivered, all read"
	othersBeside = "send→delivered, beside slow sessions"
	toSlow       = "send→delivered, to slow sessions"
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

// rampSteps are the points of the regression of memory over sessions; between
// them the server gets settleTime to come to rest.
const (
	rampSteps  = 12
	settleTime = 400 * time.Millisecond
)

// settings copies into the result what was asked for.
func settings(s *scenario.Scenario, c *Corpus) result.Settings {
	arrivals := s.Arrivals
	if s.Loop == scenario.LoopClosed {
		arrivals = "" // whoever is answered asks again
	}
	return result.Settings{
		Loop: s.Loop, Arrivals: arrivals, Seed: s.Seed, Sessions: s.Sessions, SDKSessions: s.SDKSessions, Servers: s.Servers, Rate: s.Rate, Encoding: s.Encoding,
		Agents: s.Agents, Corpus: c.Name, BodyP50: c.P50, BodyP99: c.P99, BodyMax: c.Max,
	}
}
