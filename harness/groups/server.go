package groups

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// metric reads one value of the server's metrics.
func (r *run) metric(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.Metrics, nil)
	if err != nil {
		return 0, err
	}
	reply, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return 0, fmt.Errorf("metrics: %w", err)
	}
	defer reply.Body.Close()
	for lines := bufio.NewScanner(reply.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("metrics: there is no %s", name)
}

// cpuMicros is the CPU time of a process so far, all its threads, in µs.
func cpuMicros(pid int) (float64, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, task := range tasks {
		b, err := os.ReadFile(dir + "/" + task.Name() + "/schedstat")
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseFloat(first, 64)
		if err != nil {
			return 0, fmt.Errorf("schedstat of %d: %w", pid, err)
		}
		total += ns / 1e3
	}
	return total, nil
}

// fill writes messages and takes what a member's place of one costs on disk: all
// that was written is in segments before and after. Rows, which are written over,
// are not counted.
func (r *run) fill(ctx context.Context, conv string, c *Cell) error {
	beforeEntries, beforeBytes, err := r.stored(ctx)
	if err != nil {
		return err
	}
	r.cell++
	r.fleet.begin(r.cell, r.cfg.Fill*c.Online)
	if err := r.send(ctx, conv, r.cfg.Fill, min(senders, c.Online)); err != nil {
		return err
	}
	c.Lost += r.fleet.await(ctx)
	entries, bytes, err := r.stored(ctx)
	if err != nil {
		return err
	}
	c.Bytes = (bytes - beforeBytes) / (entries - beforeEntries)
	return nil
}

// stored moves all entries to segments and returns how many there are, and their size.
func (r *run) stored(ctx context.Context) (entries, bytes float64, err error) {
	if err := r.cfg.Checkpoint(ctx); err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	if entries, err = r.metric(ctx, "godwit_engine_entries"); err != nil {
		return 0, 0, err
	}
	bytes, err = r.metric(ctx, "godwit_engine_segment_bytes")
	return entries, bytes, err
}
