package report

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/godwit-im/godwit/harness/result"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file under testdata, which -update rewrites.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what is written now (%d bytes, %d in the file); look at the difference, then run with -update", name, len(got), len(want))
	}
}

// sampleRun is a valid run of two minutes with a stall in it.
func sampleRun() *result.Run {
	run := &result.Run{
		Format: result.Format, Scenario: "dm-chat", RunID: "r5k2q9", Started: "2026-11-23T12:00:00Z",
		Command: "godwit bench run dm-chat --rate 1000", Commit: "0123456789abcdef",
		Settings: result.Settings{
			Loop: "open", Arrivals: "poisson", Seed: 1, Sessions: 2000, Rate: 1000, Encoding: "json", Agents: 1,
			Corpus: "fortunes", BodyP50: 92, BodyP99: 880, BodyMax: 4000, SameMachine: true,
		},
		Host: result.Host{
			CPU: "Example CPU at 2.6 GHz", Cores: 2, MemoryMiB: 16000, Kernel: "Linux 6.12", Go: "go1.26.8", GOMAXPROCS: 2,
			OpenFiles: 65536, Sysctl: map[string]string{"net.core.somaxconn": "4096", "net.ipv4.ip_local_port_range": "32768 60999"},
			FileSystem: "ext4", FsyncP50US: 412,
		},
		Server: result.ServerFacts{URL: "ws://127.0.0.1:8080/v1", Version: "0.1.0", Store: "wal+memory", Groups: 4},
		Stages: []result.Stage{
			{Name: "ramp", Seconds: 10, Scheduled: 2000, Started: 2000, Succeeded: 2000},
			{Name: "warm-up", Seconds: 10, Scheduled: 10000, Started: 10000, Succeeded: 10000},
			{Name: "measure", Seconds: 90, Scheduled: 90000, Started: 90000, Late: 37, LateMaxMS: 18.5, Succeeded: 90000},
			{Name: "cool-down", Seconds: 10, Scheduled: 0},
			{Name: "verify", Seconds: 2.5},
		},
		Latencies: map[string]result.Latency{
			"send→stored":    sampleLatency(1100, 90000),
			"send→delivered": sampleLatency(1900, 90000),
			"connect":        sampleLatency(450, 2000),
		},
		Usage: result.Usage{
			ServerCPUSeconds: 31.5, ServerCPUPerMessage: 350, ServerRSSBytes: 96 << 20, GeneratorCPUSeconds: 24, GeneratorRSSBytes: 64 << 20,
			BytesPerConnection: 1890, BytesPerConnectionR2: 0.9987,
			Before: map[string]float64{"godwit_messages_stored_total": 10000, "godwit_sessions": 2000},
			After:  map[string]float64{"godwit_messages_stored_total": 100000, "godwit_sessions": 2000},
		},
		Verify: result.Verify{Acked: 100000, Delivered: 100000, ReadBack: 100000},
	}
	for at := range 120 {
		second := result.Second{At: float64(at), Sessions: min(at*200, 2000), ServerRSS: float64(20<<20 + at*600<<10), ServerCPU: 0.35 * float64(at)}
		switch {
		case at < 10:
			second.Stage = "ramp"
		case at < 20:
			second.Stage = "warm-up"
		case at < 110:
			second.Stage = "measure"
		default:
			second.Stage = "cool-down"
		}
		if at >= 10 && at < 110 {
			second.Scheduled = uint64(1000 + 40*math.Sin(float64(at)))
			second.Sent, second.Stored, second.Delivered = second.Scheduled, second.Scheduled, second.Scheduled
			second.P50US, second.P99US, second.MaxUS = 1900+200*math.Sin(float64(at)/7), 6000+900*math.Cos(float64(at)/5), 12000
			if at == 70 {
				second.P99US, second.MaxUS, second.Delivered = 190000, 204000, 800
			}
		}
		run.Series = append(run.Series, second)
	}
	return run
}

// sampleLatency is a log-normal distribution around p50, in µs.
func sampleLatency(p50 float64, n uint64) result.Latency {
	l := result.Latency{Count: n, Mean: p50 * 1.1, P50: p50, P90: p50 * 1.9, P99: p50 * 3.2, P999: p50 * 4.7, P9999: p50 * 9, Max: p50 * 107}
	for step := -40; step <= 60; step++ {
		z := float64(step) / 20
		if c := math.Floor(float64(n) * math.Exp(-z*z*2.5) / 22.4); c > 0 {
			l.Buckets = append(l.Buckets, [2]float64{math.Round(p50 * math.Pow(10, z/1.6)), c})
		}
	}
	l.Buckets = append(l.Buckets, [2]float64{l.Max, 1})
	counted := 0.0
	for _, b := range l.Buckets {
		counted += b[1]
	}
	l.Buckets[len(l.Buckets)/2][1] += float64(n) - counted
	return l
}

// hostileRun has text that tries to leave its place, and numbers that no
// machine measured.
func hostileRun() *result.Run {
	const evil = "\"><script>alert(1)</script> | `x` [a](javascript:b) ]]> \x00\x1b[31m\u202e{{.}} '; fetch('//evil.example')\n# heading"
	nan, inf := math.NaN(), math.Inf(1)
	run := sampleRun()
	run.Scenario, run.RunID, run.Started, run.Command, run.Commit = evil, evil, evil, evil, evil
	run.Settings = result.Settings{Loop: evil, Arrivals: evil, Sessions: -5, Rate: nan, Encoding: evil, Corpus: evil, BodyP50: math.MinInt}
	run.Host = result.Host{CPU: evil, Cores: -1, MemoryMiB: math.MaxInt, Kernel: evil, Go: evil, Sysctl: map[string]string{evil: evil}, FileSystem: evil, FsyncP50US: inf}
	run.Server = result.ServerFacts{URL: "javascript:alert(1)", Version: evil, Store: evil, Groups: math.MinInt}
	run.Stages = []result.Stage{{Name: "measure", Seconds: nan, Scheduled: math.MaxUint64, Started: 1, Late: 2, LateMaxMS: inf}, {Name: evil, Seconds: -1}}
	run.Latencies = map[string]result.Latency{
		evil:      {Count: 5, Mean: nan, P50: inf, P90: -1, P99: 1e300, Max: math.MaxFloat64, Buckets: [][2]float64{{nan, 1}, {-1, 5}, {inf, inf}, {1e308, 1e308}, {5, 2}, {4, 2}, {0, 1}}},
		"connect": {Count: 1, P50: nan, P99: nan, Max: nan, Buckets: [][2]float64{{1e-300, 1}, {1e14, 1}}},
		"empty":   {},
	}
	run.Series = []result.Second{
		{At: nan, Stage: evil, P50US: nan},
		{At: inf, Sessions: -5},
		{At: -3},
		{At: 5, Stage: evil, Sessions: -1, P50US: 1e-300, ServerRSS: inf, ServerCPU: nan, Scheduled: math.MaxUint64},
		{At: 5, Stage: "measure", P50US: 1e14, ServerCPU: 3},
		{At: 4, Stage: "measure", ServerCPU: 9},
		{At: 1e15, Stage: evil, Delivered: 1},
	}
	run.Usage = result.Usage{ServerCPUPerMessage: nan, ServerRSSBytes: inf, BytesPerConnectionR2: nan, After: map[string]float64{evil: nan, "b": inf}, Before: map[string]float64{"b": -inf}}
	run.Verify.Lost, run.Verify.Problems = 3, []string{evil}
	run.About, run.SDK = evil, &result.SDK{Sessions: math.MinInt, Cut: math.MaxUint64}
	run.Slow = &result.Slow{CutOff: -1, CloseCodes: map[string]uint64{evil: math.MaxUint64}, OthersBeside: run.Latencies[evil]}
	run.Flap = &result.Flap{Frames: math.MaxUint64, Quiet: run.Latencies[evil], FlappingCores: nan, QuietCores: inf}
	run.Capacity = &result.Capacity{SLO: evil, Latency: evil, Rate: nan, Failed: inf, Verdict: evil, Why: evil, Trials: []result.CapacityTrial{{Phase: evil, Rate: inf, P50: nan, P99: -1, Unmet: []string{evil}}}}
	run.Usage.Processes = []result.ProcessUsage{{Name: evil, CPUSeconds: nan, RSSBytes: inf, Sessions: math.MinInt}}
	run.Edges = &result.Edges{Crossed: math.MaxUint64, Within: 1}
	wild := result.Line{Slope: nan, Intercept: -inf, R2: inf}
	run.Sweep = &result.Sweep{Points: []result.SweepPoint{{Sessions: -1, UserBytes: nan, KernelBytes: inf}}, User: wild, Kernel: result.Line{Slope: -1e300, Intercept: -5, R2: -1}, CPU: &wild, Stopped: evil}
	run.Targets = []result.Target{{Text: evil, Measured: evil}}
	run.Invalid = evil
	return run
}
