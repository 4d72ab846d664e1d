package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/godwit-im/godwit/harness/record"
)

// edgeProcess is what a server says of one of its edge processes.
type edgeProcess struct {
	Index    int    `json:"index"`
	Node     string `json:"node"`
	PID      int    `json:"pid"`
	Ops      string `json:"ops"`
	Sessions int    `json:"sessions"`
}

// edgesBytesMax is far more than the longest list takes.
const edgesBytesMax = 1 << 20

func fetchEdges(ctx context.Context, address string) (list []edgeProcess, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("the list of edge processes: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("the list of edge processes: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, edgesBytesMax))
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("the list of edge processes: %w", err)
	}
	return list, nil
}

// openProcesses waits until every edge process is attached and lists them all.
func (c *coordinator) openProcesses(ctx context.Context) error {
	c.processes = []process{{name: "server", metrics: c.Endpoint.Metrics, pid: c.Endpoint.PID}}
	want, _ := c.Scenario.Processes()
	if want == 0 {
		return nil
	}
	c.processes[0].name = "engine"
	var list []edgeProcess
	err := patiently(ctx, startPatience, func() (err error) {
		if list, err = fetchEdges(ctx, c.Endpoint.Edges); err == nil && len(list) != want {
			err = fmt.Errorf("%d of %d edge processes are attached", len(list), want)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b edgeProcess) int { return cmp.Compare(a.Index, b.Index) })
	for _, e := range list {
		p := process{name: e.Node, pid: e.PID}
		if p.metrics = e.Ops; p.metrics != "" {
			if !strings.Contains(p.metrics, "://") {
				p.metrics = "http://" + p.metrics
			}
			p.metrics += "/metrics"
		}
		c.processes = append(c.processes, p)
	}
	return nil
}

// patiently tries again and again until there is no error or time is over.
func patiently(ctx context.Context, patience time.Duration, try func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nodesPatience is how long sessions that were lost have to come back, and an edge
// process may count one that is gone.
const nodesPatience = 10 * time.Second

var errDisagree = errors.New("connect replies and the list of edge processes disagree")

// matchNodes compares on which edge process the sessions were told to be with
// what the server says of its edge processes.
func (c *coordinator) matchNodes(ctx context.Context) error {
	if len(c.processes) < 2 {
		return nil
	}
	var problems []string
	err := patiently(ctx, nodesPatience, func() error {
		if err := c.rest(settleTime / 8); err != nil {
			return err
		}
		told, err := c.nodes()
		if err != nil {
			return err
		}
		for i := range c.processes {
			c.processes[i].sessions = told[c.processes[i].name]
		}
		list, err := fetchEdges(ctx, c.Endpoint.Edges)
		if err != nil {
			return err
		}
		if problems = compareNodes(told, list, c.sweep.reached, c.Scenario.SDKSessions); len(problems) > 0 {
			return errDisagree
		}
		return nil
	})
	if errors.Is(err, errDisagree) {
		c.sweep.problems = append(c.sweep.problems, problems...)
		return nil
	}
	return err
}

// nodes is how many sessions were told to be on which edge process.
func (c *coordinator) nodes() (map[string]int, error) {
	told := map[string]int{}
	for _, a := range c.agents {
		var nodes map[string]int
		if err := a.client.Call("Agent.Nodes", &None{}, &nodes); err != nil {
			return nil, fmt.Errorf("the agents' sessions: %w", err)
		}
		for name, n := range nodes {
			told[name] += n
		}
	}
	return told, nil
}

// compareNodes says in sentences where sessions and server disagree. Up to beside
// more sessions, of the SDK, may stand anywhere.
func compareNodes(told map[string]int, list []edgeProcess, sessions, beside int) (problems []string) {
	all, held := 0, 0
	for _, e := range list {
		all, held = all+told[e.Node], held+e.Sessions
	}
	for _, e := range list {
		if n := told[e.Node]; n > e.Sessions || n < e.Sessions && (beside == 0 || held > all+beside) {
			problems = append(problems, fmt.Sprintf("%d sessions were told to be on the edge process %.64q, which holds %d", n, e.Node, e.Sessions))
		}
	}
	if all != sessions {
		problems = append(problems, fmt.Sprintf("of %d sessions %d were told to be on an edge process of the server's list", sessions, all))
	}
	slices.Sort(problems)
	return problems
}

// pids are the server's processes; nil when one of them is not known.
func (c *coordinator) pids() (pids []int) {
	for i := range c.processes { // not by value: matchNodes counts sessions meanwhile
		pid := c.processes[i].pid
		if pid == 0 {
			return nil
		}
		pids = append(pids, pid)
	}
	return pids
}

func (c *coordinator) takeUsage(ctx context.Context, side int) (err error) {
	m := &c.measured
	m.server[side] = make([]record.Usage, len(c.processes))
	sum := map[string]float64{}
	for i := range c.processes {
		p := &c.processes[i]
		if p.pid != 0 {
			if m.server[side][i], err = record.Process(p.pid); err != nil {
				return fmt.Errorf("a process of the server is gone: %w", err)
			}
		}
		if p.metrics == "" {
			continue
		}
		scraped, err := record.Scrape(ctx, http.DefaultClient, p.metrics)
		if err != nil {
			return err
		}
		for name, v := range scraped {
			sum[name] += v
		}
	}
	if m.generator[side], err = c.generatorUsage(); err != nil {
		return err
	}
	if m.machine[side], err = record.MachineCPUSeconds(); err != nil {
		return err
	}
	if side == 0 {
		m.before = sum
	} else {
		m.after = sum
	}
	return nil
}
