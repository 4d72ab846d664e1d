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
const resultFormat = "godwit-bench-engine/v1"

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
	Versions map[string]string `json:"versions"`
	Harness  []loadLine        `json:"harness"`
	Stores   []storeLine       `json:"stores"`
	Large    largeLine         `json:"large"`
	Targets  []targetLine      `json:"targets"`
}

type loadLine struct {
	Appenders int     `json:"appenders"`
	PerSecond float64 `json:"per_s"`
	P50       float64 `json:"ack_p50_us"`
	P99       float64 `json:"ack_p99_us"`
	CPU       float64 `json:"cpu_us_per_message"` // the harness included
}

type storeLine struct {
	Name               string       `json:"name"`
	Rounds             [][]loadLine `json:"rounds"` // by round, then by appenders
	Messages           uint64       `json:"fill_messages,omitempty"`
	FillPerSecond      float64      `json:"fill_per_s,omitempty"`
	DiskBytes          int64        `json:"disk_bytes,omitempty"`
	WALBytes           int64        `json:"wal_bytes,omitempty"`
	DiskPerMessage     float64      `json:"disk_bytes_per_message,omitempty"`
	CPU                float64      `json:"cpu_us_per_message,omitempty"` // until settled, without the harness
	WriteBytes         int64        `json:"write_bytes,omitempty"`
	DeviceBytes        int64        `json:"device_write_bytes,omitempty"` // of the whole machine
	CancelledBytes     int64        `json:"cancelled_write_bytes,omitempty"`
	WriteAmplification float64      `json:"write_amplification,omitempty"`
	RSSBytes           int64        `json:"rss_bytes,omitempty"`
	PeakRSSBytes       int64        `json:"peak_rss_bytes,omitempty"`
	Reopen             float64      `json:"reopen_s,omitempty"`
	PageColdP50        float64      `json:"page_cold_p50_us,omitempty"`
	PageColdP99        float64      `json:"page_cold_p99_us,omitempty"`
	PageWarmP50        float64      `json:"page_warm_p50_us,omitempty"`
	PageWarmP99        float64      `json:"page_warm_p99_us,omitempty"`
}

type largeLine struct {
	Users         uint64  `json:"users"`
	Messages      uint64  `json:"messages"`
	FirstRSSBytes int64   `json:"rss_bytes_first_million"`
	RSSBytes      int64   `json:"rss_bytes"`
	DiskBytes     int64   `json:"disk_bytes"`
	WALBytes      int64   `json:"wal_bytes"`
	WriteBytes    int64   `json:"write_bytes"`
	Reopen        float64 `json:"reopen_s"`
	ReopenedBytes int64   `json:"rss_bytes_reopened"`
}

type targetLine struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
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
	path := filepath.Join(dir, fmt.Sprintf("engine-%s-%s.json", r.started.UTC().Format("20060102T150405Z"), commit))
	return path, os.WriteFile(path, append(text, '\n'), 0o644)
}

func makeResult(r *runner, s summary, args []string, commit string) result {
	l := &r.large
	out := result{
		Format: resultFormat, summary: s, Commit: commit, Started: r.started.UTC().Format(time.RFC3339),
		Command: strings.TrimSpace("go run ./bench/engine " + strings.Join(args, " ")),
		Go:      runtime.Version(), CPU: cpuModel(), CPUs: runtime.NumCPU(), Versions: peerVersions(),
		Large: largeLine{
			Users: l.Users, Messages: l.Messages, FirstRSSBytes: l.FirstRSS, RSSBytes: l.RSS,
			DiskBytes: l.Disk.Bytes, WALBytes: l.Disk.WALBytes, WriteBytes: l.WriteBytes,
			Reopen: l.ReopenSeconds, ReopenedBytes: l.RSSReopened,
		},
	}
	for _, n := range r.appenders {
		out.Harness = append(out.Harness, makeLoadLine(n, r.harness[n]))
	}
	for _, store := range r.stores {
		out.Stores = append(out.Stores, makeStoreLine(r, store))
	}
	for _, t := range targets(s) {
		out.Targets = append(out.Targets, targetLine{t.name, t.value, t.bound, t.hit()})
	}
	return out
}

func makeLoadLine(appenders int, l loadResult) loadLine {
	return loadLine{appenders, round(l.perSecond()), round(l.P50), round(l.P99), round(l.CPU)}
}

func makeStoreLine(r *runner, s *storeRun) storeLine {
	line := storeLine{
		Name: s.name, Messages: s.messages, FillPerSecond: round(s.fill.perSecond()),
		DiskBytes: s.disk.Bytes, WALBytes: s.disk.WALBytes, DiskPerMessage: s.diskPerMessage(),
		CPU: round(r.allCPU(s)), WriteBytes: s.written.WriteBytes, DeviceBytes: s.device, CancelledBytes: s.written.CancelledWriteBytes, WriteAmplification: s.writeAmplification(),
		RSSBytes: s.written.RSSBytes, PeakRSSBytes: s.written.PeakRSSBytes, Reopen: round(s.reopen),
		PageColdP50: round(s.coldPage.P50), PageColdP99: round(s.coldPage.P99),
		PageWarmP50: round(s.warmPage.P50), PageWarmP99: round(s.warmPage.P99),
	}
	for number := range s.rounds[r.appenders[0]] {
		var lines []loadLine
		for _, n := range r.appenders {
			lines = append(lines, makeLoadLine(n, s.rounds[n][number]))
		}
		line.Rounds = append(line.Rounds, lines)
	}
	return line
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

// peerVersions are the modules of the stores in this binary.
func peerVersions() map[string]string {
	out := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/cockroachdb/pebble/v2", "github.com/dgraph-io/badger/v4", "go.etcd.io/bbolt",
			"github.com/nats-io/nats-server/v2", "go.etcd.io/raft/v3", "github.com/klauspost/compress":
			out[m.Path] = m.Version
		}
	}
	return out
}
