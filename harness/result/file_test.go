package result

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// filledRun sets every member that Validate looks at.
func filledRun() *Run {
	return &Run{
		Format: Format, Scenario: "dm-chat", RunID: "k3v9", Started: "2026-03-01T10:20:30Z",
		Command: "godwit bench run dm-chat", Commit: "0123456789abcdef0123456789abcdef01234567-dirty",
		Settings: Settings{Loop: "open", Arrivals: "poisson", Seed: math.MaxUint64, Sessions: 200, Rate: 1000},
		Host:     Host{CPU: "A <fast> & cheap CPU", Cores: 2, Sysctl: map[string]string{"b": "2", "a": "1"}},
		Stages: []Stage{
			{Name: "ramp", Seconds: 2},
			{Name: "measure", Seconds: 20, Scheduled: 10, Started: 9, Late: 2, Succeeded: 5, Refused: 2, Unknown: 2},
		},
		Latencies: map[string]Latency{
			"send→stored": {Count: 3, Mean: 2, P50: 2, P90: 3, P99: 3, P999: 3, P9999: 3, Max: 3, Buckets: [][2]float64{{1, 1}, {3, 2}}},
			"connect":     {},
		},
		Series: []Second{{At: 0, Stage: "ramp"}, {At: 1, Stage: "measure", Sent: 9}},
		Usage:  Usage{Before: map[string]float64{`a{b="[\n1,\n2\n]"}`: -1}},
	}
}

func TestWriteThenReadGivesTheRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	want := filledRun()
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want.fillEmpty()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwrote\n%+v", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

func TestEncodeIsStableAndReadable(t *testing.T) {
	first, err := Encode(filledRun())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // maps iterate in random order
		again, err := Encode(filledRun())
		if err != nil || !bytes.Equal(again, first) {
			t.Fatalf("encoded again: %v\n%s", err, again)
		}
	}
	decoded, err := Decode(first)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Encode(decoded); err != nil || !bytes.Equal(again, first) {
		t.Errorf("decoded and encoded: %v\n%s", err, again)
	}
	text := string(first)
	for _, want := range []string{"  \"scenario\": \"dm-chat\",\n", "        [1, 1],\n        [3, 2]\n", "A <fast> & cheap CPU", `"seed": 18446744073709551615`, "\"problems\": []", `"a{b=\"[\\n1,\\n2\\n]\"}": -1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "null") || !strings.HasSuffix(text, "}\n") {
		t.Errorf("null, or no line end at the end:\n%s", text)
	}
}

func TestEncodeLeavesTheCallersRunAlone(t *testing.T) {
	run := filledRun()
	run.Format = ""
	if _, err := Encode(run); err != nil {
		t.Fatal(err)
	}
	want := filledRun()
	want.Format = ""
	if !reflect.DeepEqual(run, want) {
		t.Errorf("the run became %+v", run)
	}
}

func TestFailedWriteKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	if err := Write(path, filledRun()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	bad := filledRun()
	bad.Usage.ServerRSSBytes = math.NaN()
	if err := Write(path, bad); err == nil {
		t.Error("a run with NaN was written")
	}
	// A folder stands where the file should go: only the last step can fail.
	folder := filepath.Join(dir, "b.json")
	if err := os.MkdirAll(filepath.Join(folder, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(folder, filledRun()); err == nil {
		t.Error("a run replaced a folder")
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(before, after) {
		t.Error("a failed write changed the file")
	}
	names, _ := os.ReadDir(dir)
	if len(names) != 2 {
		t.Errorf("a failed write left something: %v", names)
	}
}

func TestFileNameSortsByTimeAndNamesTheCommit(t *testing.T) {
	f := func(started, commit, want string) {
		t.Helper()
		run := filledRun()
		run.Started, run.Commit = started, commit
		got, err := FileName(run)
		if err != nil || got != want {
			t.Errorf("%s %s: %q, %v; want %q", started, commit, got, err, want)
		}
	}
	f("2026-03-01T10:20:30Z", "0123456789abcdef0123456789abcdef01234567", "dm-chat-20260301T102030Z-0123456789ab.json")
	f("2026-03-01T10:20:30Z", "0123456789abcdef-dirty", "dm-chat-20260301T102030Z-0123456789ab-dirty.json")
	f("2026-03-01T23:20:30-02:00", "0123456-dirty", "dm-chat-20260302T012030Z-0123456-dirty.json")
	f("2026-03-01T10:20:30Z", "unknown", "dm-chat-20260301T102030Z-unknown.json")
	f("2026-03-01T10:20:30Z", "../../etc/passwd", "dm-chat-20260301T102030Z-unknown.json")
	for _, scenario := range []string{"", "../a", "a/b", "Dm", "a--b", "a b"} {
		run := filledRun()
		run.Scenario = scenario
		if name, err := FileName(run); err == nil {
			t.Errorf("scenario %q gave the name %q", scenario, name)
		}
	}
	run := filledRun()
	run.Started = "yesterday"
	if name, err := FileName(run); err == nil {
		t.Errorf("started yesterday gave the name %q", name)
	}
}

func TestReadRefusesOtherFormats(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "a.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	good, err := Encode(filledRun())
	if err != nil {
		t.Fatal(err)
	}
	f("", "no JSON")
	f("[1,2]", "no JSON")
	f("{}", "names no format")
	f(`{"format":"godwit-bench/v2","series":7}`, `"godwit-bench/v2", this godwit reads "godwit-bench/v1" only`)
	f(`{"format":"k6"}`, `"k6" is no load-test result's`)
	f(`{"format":"godwit-bench/v1","series":7}`, "no result of the format")
	f(`{"format":"godwit-bench/v1"}`, "run_id: it is missing")
	f(string(good)+"{}", "no JSON")
	f(string(good[:len(good)/2]), "no JSON")
	f(strings.Replace(string(good), `"count": 3`, `"count": 4`, 1), "the buckets hold 3 values, the count is 4")
	if _, err := Read(filepath.Join(t.TempDir(), "absent.json")); !os.IsNotExist(err) {
		t.Errorf("an absent file: %v", err)
	}
	if _, err := Decode([]byte(strings.Replace(string(good), `"run_id"`, `"later": {"x": 1}, "run_id"`, 1))); err != nil {
		t.Errorf("a member of a later harness: %v", err)
	}
}

func TestDecodeNeverPanics(t *testing.T) {
	good, err := Encode(filledRun())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := bytes.Clone(good)
		for range rapid.IntRange(1, 8).Draw(t, "edits") {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.SampledFrom([]byte(`{}[]",:0-9eE.ntfa `)).Draw(t, "byte")
		}
		run, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Encode(run)
		if err != nil {
			t.Fatalf("decoded, but can't be encoded: %v", err)
		}
		if back, err := Decode(again); err != nil || back.RunID != run.RunID {
			t.Fatalf("encoded, but can't be decoded: %v", err)
		}
	})
}
