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
	URL      string // of the server: ws://host:port/v1/ws
	Metrics  string // of the server's /metrics; "": not scraped
	PID      int    // of the server on this machine; 0: its memory and CPU are not known
	Dir      string // on the file system of the server's store, for the fsync probe
	Server   result.ServerFacts
	Command  string // to repeat the run

	// Tokens mints one token for each user, in their order.
	Tokens   func(users []string) ([]string, error)
	Progress *record.Progress

	// Several agents are children of this process: Program with ProgramArgs must
	// call ServeAgent on its standard input and output. Remote names hosts where
	// ListenAgent runs instead, and Secret is what they know.
	Program     string
	ProgramArgs []string
	Remote      []string
	Secret      []byte

	hinder time.Duration // a planted fault: the generator stops so long, once a second
}

func (c *Config) validate() error {
	if c.Tokens == nil || c.Progress == nil || c.Dir == "" {
		return errors.New("load: Tokens, Progress and Dir are required")
	}
	if c.Scenario.Agents > 1 && len(c.Remote) == 0 && c.Program == "" {
		return errors.New("load: several agents need Program")
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
	before, after map[string]float64
	server        [2]record.Usage
	generator     [2]record.Usage
	err           error
}

// fill writes the measurement into the result.
func (m *measurement) fill(run *result.Run, messages uint64) {
	u := &run.Usage
	u.Before, u.After = m.before, m.after
	u.ServerCPUSeconds = m.server[1].CPUSeconds - m.server[0].CPUSeconds
	u.ServerRSSBytes = m.server[1].RSSBytes
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
)

var latencyNames = []string{"send→stored", "send→delivered", "connect", "resume", "history"}

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
		Loop: s.Loop, Arrivals: arrivals, Seed: s.Seed, Sessions: s.Sessions, Rate: s.Rate, Encoding: s.Encoding,
		Agents: s.Agents, Corpus: c.Name, BodyP50: c.P50, BodyP99: c.P99, BodyMax: c.Max,
	}
}
