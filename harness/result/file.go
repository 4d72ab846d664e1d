package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// fileMaxBytes bounds what Read takes into memory: a run of an hour with ten
// distributions stays under 3 MiB.
const fileMaxBytes = 64 << 20

// FileName is the run's name in a folder of results:
// <scenario>-<UTC time>-<commit>.json. Files sort by scenario, then by time.
func FileName(run *Run) (string, error) {
	if !scenarioName.MatchString(run.Scenario) {
		return "", fmt.Errorf("name the result: %q is no scenario's name", run.Scenario)
	}
	started, err := time.Parse(time.RFC3339, run.Started)
	if err != nil {
		return "", fmt.Errorf("name the result: started: %w", err)
	}
	return run.Scenario + "-" + started.UTC().Format("20060102T150405Z") + "-" + shortCommit(run.Commit) + ".json", nil
}

// shortCommit keeps twelve digits and the mark of changed sources.
func shortCommit(commit string) string {
	if !commitName.MatchString(commit) {
		return "unknown"
	}
	digits, dirty := strings.CutSuffix(commit, "-dirty")
	digits = digits[:min(len(digits), 12)]
	if dirty {
		digits += "-dirty"
	}
	return digits
}

// Write checks the run and stores it at the path in one step: a reader finds
// the old file, the new one or none. The same run gives the same bytes.
func Write(path string, run *Run) error {
	text, err := Encode(run)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// Read takes a file written by Write, or says in sentences what is wrong with it.
func Read(path string) (*Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileMaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	run, err := Decode(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return run, nil
}

// pair is a bucket as encoding/json indents it, over four lines. A string
// can't hold it: line ends are escaped there.
var pair = regexp.MustCompile(`\[\n\s+([-+.eE0-9]+),\n\s+([-+.eE0-9]+)\n\s+\]`)

// Encode checks the run and returns the file's text.
func Encode(run *Run) ([]byte, error) {
	whole := *run
	if whole.Format == "" {
		whole.Format = Format
	}
	if err := whole.Validate(); err != nil {
		return nil, err
	}
	whole.fillEmpty()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(&whole); err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	return pair.ReplaceAll(text.Bytes(), []byte("[$1, $2]")), nil
}

// fillEmpty makes absent lists and maps empty ones, so that the file never
// says null. Maps shared with the caller's run are copied before a change.
func (r *Run) fillEmpty() {
	r.Stages = nonNil(r.Stages)
	r.Series = nonNil(r.Series)
	r.Verify.Problems = nonNil(r.Verify.Problems)
	latencies := make(map[string]Latency, len(r.Latencies))
	for name, l := range r.Latencies {
		l.Buckets = nonNil(l.Buckets)
		latencies[name] = l
	}
	r.Latencies = latencies
	if r.Slow != nil {
		slow := *r.Slow
		slow.OthersBefore.Buckets, slow.OthersBeside.Buckets = nonNil(slow.OthersBefore.Buckets), nonNil(slow.OthersBeside.Buckets)
		slow.ToSlow.Buckets = nonNil(slow.ToSlow.Buckets)
		if slow.CloseCodes == nil {
			slow.CloseCodes = map[string]uint64{}
		}
		r.Slow = &slow
	}
	if r.Flap != nil {
		flap := *r.Flap
		flap.Quiet.Buckets, flap.Flapping.Buckets = nonNil(flap.Quiet.Buckets), nonNil(flap.Flapping.Buckets)
		r.Flap = &flap
	}
	if r.Capacity != nil {
		c := *r.Capacity
		c.Trials = append([]CapacityTrial{}, c.Trials...)
		for i := range c.Trials {
			c.Trials[i].Unmet = nonNil(c.Trials[i].Unmet)
		}
		r.Capacity = &c
	}
	if r.Host.Sysctl == nil {
		r.Host.Sysctl = map[string]string{}
	}
	if r.Usage.Before == nil {
		r.Usage.Before = map[string]float64{}
	}
	if r.Usage.After == nil {
		r.Usage.After = map[string]float64{}
	}
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Decode parses and checks a file's text. Members it doesn't know are left
// out: a later harness may add some without a new version.
func Decode(text []byte) (*Run, error) {
	if len(text) > fileMaxBytes {
		return nil, fmt.Errorf("the file is over %d MiB, more than any result", fileMaxBytes>>20)
	}
	// The format first: the members of another one may have other types.
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("this is no JSON of a load-test result: %w", err)
	}
	if err := checkFormat(head.Format); err != nil {
		return nil, err
	}
	run := new(Run)
	if err := json.Unmarshal(text, run); err != nil {
		return nil, fmt.Errorf("this is no result of the format %s: %w", Format, err)
	}
	if err := run.Validate(); err != nil {
		return nil, err
	}
	return run, nil
}
