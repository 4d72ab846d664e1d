package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// resultFormat names the files of full runs.
const resultFormat = "godwit-bench-edge/v1"

// result is a full run as it is kept: the summary, and what is behind it.
type result struct {
	Format string `json:"format"`
	summary
	Command  string            `json:"command"`
	Commit   string            `json:"commit"`
	Started  string            `json:"started"`
	Go       string            `json:"go"`
	CPU      string            `json:"cpu"`
	CPUs     int               `json:"cpus"`
	Kernel   string            `json:"kernel"`
	Versions map[string]string `json:"versions"`
	Servers  []serverLine      `json:"servers"`
	Targets  []targetLine      `json:"targets"`
}

type serverLine struct {
	Name   string       `json:"name"`
	Memory []memoryLine `json:"memory,omitempty"`
	Echo   []echoLine   `json:"echo,omitempty"`
	Push   []pushLine   `json:"push,omitempty"`
	Calls  figure       `json:"syscalls_per_message"` // null: not counted
}

type memoryLine struct {
	Kind   string        `json:"kind"`
	Each   figure        `json:"rss_bytes_each"`
	Points []memoryPoint `json:"points"`
}

// echoLine is one case; the slices are by round.
type echoLine struct {
	Active    int       `json:"active"`
	Pipelined int       `json:"pipelined"`
	PerSecond []float64 `json:"per_s"`
	CPU       []float64 `json:"cpu_us_per_message"`
}

// pushLine is one kind of push; the slices are by round, and latencies are from
// when a message was due, those called handed from when the server got it.
type pushLine struct {
	Kind      string    `json:"kind"`
	PerSecond []float64 `json:"per_s"`
	CPU       []float64 `json:"cpu_us_per_message"`
	P50       []float64 `json:"p50_us,omitempty"`
	P99       []float64 `json:"p99_us,omitempty"`
	P999      []float64 `json:"p99_9_us,omitempty"`
	HandedP50 []float64 `json:"handed_p50_us,omitempty"`
	HandedP99 []float64 `json:"handed_p99_us,omitempty"`
}

type targetLine struct {
	Name  string  `json:"name"`
	Value figure  `json:"value"`
	Bound float64 `json:"bound"`
	Hit   bool    `json:"hit"`
}

// writeResult stores a full run under its time and commit.
func writeResult(dir string, r *runner, s summary, args []string) (string, error) {
	commit := gitCommit()
	text, err := json.MarshalIndent(makeResult(r, s, args, commit), "", "\t")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, fmt.Sprintf("edge-%s-%s.json", r.started.UTC().Format("20060102T150405Z"), commit))
	return path, os.WriteFile(path, append(text, '\n'), 0o644)
}

func makeResult(r *runner, s summary, args []string, commit string) result {
	out := result{
		Format: resultFormat, summary: s, Commit: commit, Started: r.started.UTC().Format(time.RFC3339),
		Command: strings.TrimSpace("go run ./bench/edge " + strings.Join(args, " ")),
		Go:      runtime.Version(), CPU: cpuModel(), CPUs: runtime.NumCPU(), Kernel: kernelRelease(), Versions: peerVersions(),
	}
	for _, name := range r.servers {
		out.Servers = append(out.Servers, makeServerLine(r, name))
	}
	for _, t := range targets(&s) {
		out.Targets = append(out.Targets, targetLine{t.name, t.value, t.bound, t.hit()})
	}
	return out
}

func makeServerLine(r *runner, name string) serverLine {
	line := serverLine{Name: name}
	m := &r.measured
	for _, k := range []kind{kindSession, kindPoll, kindEcho, kindRaw} {
		if points := m.memory[memoryName(name, k)]; len(points) > 0 {
			line.Memory = append(line.Memory, memoryLine{string(k), of(slope(points)), points})
		}
	}
	for _, c := range r.echoCases() {
		if rounds := m.echo[c][name]; len(rounds) > 0 {
			line.Echo = append(line.Echo, echoLine{
				Active: c.Active, Pipelined: c.Pipelined,
				PerSecond: rounded(rounds, echoResult.perSecond), CPU: rounded(rounds, echoResult.cpuMicros),
			})
		}
	}
	for _, op := range []string{opFlood, opBroadcast, opPaced} {
		if rounds := m.push[op][name]; len(rounds) > 0 {
			line.Push = append(line.Push, makePushLine(op, rounds))
		}
	}
	if v, ok := m.calls[name]; ok {
		line.Calls = of(v)
	}
	return line
}

func makePushLine(op string, rounds []pushRound) pushLine {
	line := pushLine{Kind: op, PerSecond: rounded(rounds, pushRound.perSecond), CPU: rounded(rounds, pushRound.cpuMicros)}
	if op == opPaced {
		line.P50 = rounded(rounds, func(p pushRound) float64 { return p.Arrived.Due.P50 })
		line.P99 = rounded(rounds, func(p pushRound) float64 { return p.Arrived.Due.P99 })
		line.P999 = rounded(rounds, func(p pushRound) float64 { return p.Arrived.Due.P999 })
		line.HandedP50 = rounded(rounds, func(p pushRound) float64 { return p.Arrived.Handed.P50 })
		line.HandedP99 = rounded(rounds, func(p pushRound) float64 { return p.Arrived.Handed.P99 })
	}
	return line
}

func rounded[T any](rounds []T, f func(T) float64) []float64 {
	out := values(rounds, f)
	for i := range out {
		out[i] = round(out[i])
	}
	return out
}

// gitCommit is the short name of the sources, with the mark of changed ones.
func gitCommit() string {
	head, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	commit := strings.TrimSpace(string(head))
	if changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output(); err != nil || len(changed) > 0 {
		commit += "-dirty"
	}
	return commit
}

// peerVersions are the modules of the servers in this binary.
func peerVersions() map[string]string {
	out := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/lxzan/gws", "github.com/gorilla/websocket", "github.com/coder/websocket", "github.com/gobwas/ws", "github.com/panjf2000/gnet/v2":
			out[m.Path] = m.Version
		}
	}
	return out
}
