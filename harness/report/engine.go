package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// engineFormat is the file of bench/engine, whose module this one can't import:
// the structs below are a second reading of what it writes. A reader refuses
// any other version; members it doesn't know are left out.
const (
	engineFormat = engineFamily + "v1"
	engineFamily = "godwit-bench-engine/"
)

// engineTextBytes is the size of every message's text in a file of this version.
const engineTextBytes = 128

// EngineInput is a comparison of the storage engine with its peers, and the
// place of its file as the page links to it.
type EngineInput struct {
	Path   string
	Result *EngineResult
}

// EngineResult is what a full run of bench/engine leaves behind. Times are µs,
// amounts bytes, unless a name says otherwise; 0 was not measured.
type EngineResult struct {
	Format       string            `json:"format"`
	Command      string            `json:"command"`
	Commit       string            `json:"commit"`
	Started      string            `json:"started"`
	Go           string            `json:"go"`
	CPU          string            `json:"cpu"`
	CPUs         int               `json:"cpus"`
	Versions     map[string]string `json:"versions"` // of the peers' modules
	Filesystem   string            `json:"filesystem"`
	FsyncP50     float64           `json:"fsync_p50_us"`
	ThroughRaft  bool              `json:"through_raft"`
	Compression  bool              `json:"compression"`
	BytesPerUser float64           `json:"bytes_per_user"`
	ReopenPerGB  float64           `json:"reopen_s_per_gb"`
	Harness      []EngineLoad      `json:"harness"` // the loops against a store that does nothing
	Stores       []EngineStore     `json:"stores"`  // the engine first
	Large        EngineLarge       `json:"large"`
	Targets      []EngineTarget    `json:"targets"`
}

// EngineLoad is one closed loop of so many appenders.
type EngineLoad struct {
	Appenders int     `json:"appenders"`
	PerSecond float64 `json:"per_s"`
	P50       float64 `json:"ack_p50_us"`
	P99       float64 `json:"ack_p99_us"`
	CPU       float64 `json:"cpu_us_per_message"` // the harness included
}

// EngineStore is one store's part: the rounds, then the fill, which a store
// without reads does not take.
type EngineStore struct {
	Name               string         `json:"name"`
	Rounds             [][]EngineLoad `json:"rounds"` // by round, then by appenders
	Messages           uint64         `json:"fill_messages"`
	FillPerSecond      float64        `json:"fill_per_s"`
	DiskPerMessage     float64        `json:"disk_bytes_per_message"`
	CPU                float64        `json:"cpu_us_per_message"` // until settled, without the harness
	DeviceBytes        float64        `json:"device_write_bytes"`
	WriteAmplification float64        `json:"write_amplification"`
	RSSBytes           float64        `json:"rss_bytes"`
	PeakRSSBytes       float64        `json:"peak_rss_bytes"`
	Reopen             float64        `json:"reopen_s"`
	PageColdP50        float64        `json:"page_cold_p50_us"`
	PageColdP99        float64        `json:"page_cold_p99_us"`
	PageWarmP50        float64        `json:"page_warm_p50_us"`
	PageWarmP99        float64        `json:"page_warm_p99_us"`
}

// EngineLarge is what the engine alone does at its size.
type EngineLarge struct {
	Users         uint64  `json:"users"`
	Messages      uint64  `json:"messages"`
	RSSBytes      float64 `json:"rss_bytes"` // with all users, before the rest of the messages
	DiskBytes     float64 `json:"disk_bytes"`
	WALBytes      float64 `json:"wal_bytes"` // of DiskBytes
	Reopen        float64 `json:"reopen_s"`
	ReopenedBytes float64 `json:"rss_bytes_reopened"`
}

// EngineTarget is a figure and what the design wants of it.
type EngineTarget struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Bound float64 `json:"bound"`
	Hit   bool    `json:"hit"`
}

// decodeEngine parses and checks a file's text.
func decodeEngine(text []byte) (*EngineResult, error) {
	// The format first: the members of another one may have other types.
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("this is no JSON of an engine comparison: %w", err)
	}
	if head.Format != engineFormat {
		return nil, fmt.Errorf("the file's format is %q, this godwit reads %q only", clean(head.Format, 80), engineFormat)
	}
	r := new(EngineResult)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("this is no result of the format %s: %w", engineFormat, err)
	}
	return r, r.validate()
}

var engineCommit = regexp.MustCompile(`^([0-9a-f]{7,64}(-dirty)?|unknown)$`)

// validate says what can't be true of the file: it was damaged or written by
// hand.
func (r *EngineResult) validate() error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if at, err := time.Parse(time.RFC3339, r.Started); err != nil || at.UTC().Format(time.RFC3339) != r.Started {
		complain("started: %q is no time like 2006-01-02T15:04:05Z", clean(r.Started, 80))
	}
	if !engineCommit.MatchString(r.Commit) {
		complain("commit: %q is no commit", clean(r.Commit, 80))
	}
	if len(r.Stores) == 0 || len(r.Targets) == 0 {
		complain("there are %d stores and %d targets: nothing was compared", len(r.Stores), len(r.Targets))
	}
	names := map[string]bool{}
	for _, s := range r.Stores {
		if s.Name == "" || names[s.Name] {
			complain("stores: the name %q is empty or stands twice", clean(s.Name, 80))
		}
		names[s.Name] = true
		if len(s.Rounds) == 0 {
			complain("stores, %s: it has no rounds", clean(s.Name, 80))
		}
	}
	for _, t := range r.Targets {
		if wanted, known := engineTargets[t.Name]; known && wanted.met(t.Value, t.Bound) != t.Hit {
			complain("targets, %s: hit is %v, which %g against %g is not", t.Name, t.Hit, t.Value, t.Bound)
		}
	}
	return errors.Join(problems...)
}

// newestEngine returns the result that started last and how many others there
// are; of one moment the first by its file, whatever the order of the inputs.
func newestEngine(inputs []EngineInput) (newest *EngineInput, older int) {
	if len(inputs) == 0 {
		return nil, 0
	}
	first := slices.MinFunc(inputs, func(a, b EngineInput) int {
		return cmp.Or(strings.Compare(b.Result.Started, a.Result.Started), strings.Compare(a.Path, b.Path)) // UTC sorts as text
	})
	return &first, len(inputs) - 1
}
