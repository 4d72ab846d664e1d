package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/godwit-im/godwit/harness/groups"
	"github.com/godwit-im/godwit/harness/result"
)

// Site is where the page and what it is made from stand.
type Site struct {
	Page    string   // BENCHMARKS.md
	Results string   // bench/results: *.json, stages.txt, and plots, the SVGs made here
	Files   []string // result files instead of all those of Results
}

func (s Site) plots() string { return filepath.Join(s.Results, "plots") }

// Build reads the inputs and makes the page. A file that is no result is an
// error: a page that left it out would look complete.
func (s Site) Build() (*Page, error) {
	files := s.Files
	if len(files) == 0 {
		var err error
		if files, err = filepath.Glob(filepath.Join(s.Results, "*.json")); err != nil {
			return nil, fmt.Errorf("list results: %w", err)
		}
	}
	var inputs Inputs
	for _, file := range files {
		in, err := readInput(file)
		if err != nil {
			return nil, err
		}
		link, err := s.link(file)
		if err != nil {
			return nil, err
		}
		switch {
		case in.engine != nil:
			inputs.Engines = append(inputs.Engines, EngineInput{Path: link, Result: in.engine})
		case in.edge != nil:
			inputs.Edges = append(inputs.Edges, EdgeInput{Path: link, Result: in.edge})
		case in.groups != nil:
			inputs.Groups = append(inputs.Groups, GroupsInput{Path: link, Result: in.groups})
		default:
			inputs.Runs = append(inputs.Runs, PageInput{Path: link, Run: in.run})
		}
	}
	stages, err := os.ReadFile(filepath.Join(s.Results, "stages.txt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read stage benchmarks: %w", err)
	}
	plots, err := s.link(s.plots())
	if err != nil {
		return nil, err
	}
	inputs.Stages = stages
	return BuildPage(inputs, plots)
}

// comparisonMaxBytes is many times what a comparison takes.
const comparisonMaxBytes = 16 << 20

// input is what a file holds: one of the four.
type input struct {
	run    *result.Run
	engine *EngineResult
	edge   *EdgeResult
	groups *groups.Result
}

// readInput takes a load test's result, a comparison of the storage engine or the
// edge, or a measurement of groups, by the file's format.
func readInput(file string) (in input, err error) {
	f, err := os.Open(file)
	if err != nil {
		return in, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, comparisonMaxBytes+1))
	if err != nil {
		return in, fmt.Errorf("read %s: %w", file, err)
	}
	var head struct {
		Format string `json:"format"`
	}
	known := json.Unmarshal(content, &head) == nil
	switch {
	case known && strings.HasPrefix(head.Format, engineFamily):
		in.engine, err = decodeEngine(content)
	case known && strings.HasPrefix(head.Format, edgeFamily):
		in.edge, err = decodeEdge(content)
	case known && strings.HasPrefix(head.Format, groupsFamily):
		in.groups, err = decodeGroups(content)
	default:
		// What is neither is refused there, and so is what is too large or damaged.
		if in.run, err = result.Read(file); err != nil && head.Format != "" {
			err = fmt.Errorf("%w (others would be %q, %q or %q)", err, engineFormat, edgeFormat, groups.Format)
		}
		return in, err
	}
	if err != nil {
		err = fmt.Errorf("read %s: %w", file, err)
	}
	return in, err
}

// link is a file's address on the page.
func (s Site) link(file string) (string, error) {
	from, err := filepath.Abs(filepath.Dir(s.Page))
	if err != nil {
		return "", fmt.Errorf("link %s: %w", file, err)
	}
	to, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("link %s: %w", file, err)
	}
	relative, err := filepath.Rel(from, to)
	if err != nil {
		return "", fmt.Errorf("link %s: %w", file, err)
	}
	parts := strings.Split(filepath.ToSlash(relative), "/")
	for i := range parts {
		parts[i] = strings.NewReplacer("(", "%28", ")", "%29").Replace(url.PathEscape(parts[i]))
	}
	return strings.Join(parts, "/"), nil
}

// wanted is every file of the site with its content.
func (s Site) wanted(page *Page) map[string][]byte {
	files := map[string][]byte{s.Page: page.Markdown}
	for name, svg := range page.Plots {
		files[filepath.Join(s.plots(), name)] = svg
	}
	return files
}

// Changes lists the files that Write would write or remove, sorted.
func (s Site) Changes(page *Page) ([]string, error) {
	wanted := s.wanted(page)
	changed, err := filepath.Glob(filepath.Join(s.plots(), "*.svg"))
	if err != nil {
		return nil, fmt.Errorf("list plots: %w", err)
	}
	changed = slices.DeleteFunc(changed, func(file string) bool { return wanted[file] != nil }) // plots of no run
	for file, content := range wanted {
		now, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("compare page: %w", err)
		}
		if err != nil || !bytes.Equal(now, content) {
			changed = append(changed, file)
		}
	}
	slices.Sort(changed)
	return changed, nil
}

// Write brings the files up to date and lists those it changed. Plots of runs
// that are no longer shown are removed.
func (s Site) Write(page *Page) ([]string, error) {
	changed, err := s.Changes(page)
	if err != nil {
		return nil, err
	}
	wanted := s.wanted(page)
	for _, file := range changed {
		content, keep := wanted[file]
		if !keep {
			err = os.Remove(file)
		} else if err = os.MkdirAll(filepath.Dir(file), 0o755); err == nil {
			err = os.WriteFile(file, content, 0o644)
		}
		if err != nil {
			return nil, fmt.Errorf("write page: %w", err)
		}
	}
	return changed, nil
}
