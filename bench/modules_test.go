// Package bench holds nothing but this test; the programs are in its folders.
package bench

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// module is what `go mod edit -json` says of a go.mod, as far as it matters.
type module struct {
	Go      string
	Require []struct{ Path, Version string }
	Replace []struct {
		Old struct{ Path, Version string }
		New struct{ Path, Version string }
	}
}

func readModule(t *testing.T, path string) module {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", path).Output()
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	var m module
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return m
}

// versions are those really built with: a replacement counts.
func (m module) versions() map[string]string {
	out := map[string]string{}
	for _, r := range m.Require {
		out[r.Path] = r.Version
	}
	for _, r := range m.Replace {
		if r.New.Version != "" && (r.Old.Version == "" || r.Old.Version == out[r.Old.Path]) {
			out[r.Old.Path] = r.New.Version
		}
	}
	return out
}

// compareModules lists what keeps the engine measured here from being the
// engine that ships.
func compareModules(product, bench module) (problems []string) {
	if product.Go != bench.Go {
		problems = append(problems, fmt.Sprintf("go.mod says go %s, bench/go.mod says go %s", product.Go, bench.Go))
	}
	ours := product.versions()
	shared := 0
	for path, version := range bench.versions() {
		if want, ok := ours[path]; ok {
			shared++
			if version != want {
				problems = append(problems, fmt.Sprintf("%s is %s in go.mod and %s in bench/go.mod", path, want, version))
			}
		}
	}
	if shared == 0 {
		problems = append(problems, "no module is shared: the comparison is broken")
	}
	return problems
}

func TestModulesSharedWithTheProductHaveItsVersions(t *testing.T) {
	product, bench := readModule(t, "../go.mod"), readModule(t, "go.mod")
	found := compareModules(product, bench)
	for _, problem := range found {
		t.Error(problem)
	}

	// Planted: another version, and a replacement by one.
	const path = "github.com/cockroachdb/pebble/v2"
	other := readModule(t, "go.mod")
	for i := range other.Require {
		if other.Require[i].Path == path {
			other.Require[i].Version = "v2.0.0"
		}
	}
	replaced := readModule(t, "go.mod")
	replaced.Replace = append(replaced.Replace, replaced.Replace[0])
	last := &replaced.Replace[len(replaced.Replace)-1]
	last.Old.Path, last.New.Path, last.New.Version = path, path, "v2.0.0"
	for _, planted := range []module{other, replaced} {
		if problems := compareModules(product, planted); len(problems) != len(found)+1 || !strings.Contains(strings.Join(problems, "\n"), path) {
			t.Errorf("planted another version of %s, the comparison says %q", path, problems)
		}
	}
}
