package godwit_test

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+\b`)
	runFlag  = regexp.MustCompile(`go test \./([a-z0-9/]+)(?:/\.\.\.)? -(?:run|bench) ([A-Za-z]+)`)
)

// checkDocs reports tests that a document names and no source declares, and
// "go test ./pkg -run Word" lines that would run nothing: both succeed silently.
func checkDocs(name, text string, sources []*source) (problems []string) {
	declared := map[string]map[string]bool{} // test → packages
	for _, s := range sources {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.test && f.Recv == nil {
				if declared[f.Name.Name] == nil {
					declared[f.Name.Name] = map[string]bool{}
				}
				declared[f.Name.Name][s.dir] = true
			}
		}
	}
	for _, test := range testName.FindAllString(text, -1) {
		if declared[test] == nil {
			problems = append(problems, fmt.Sprintf("%s names %s, which does not exist", name, test))
		}
	}
	for _, run := range runFlag.FindAllStringSubmatch(text, -1) {
		found := run[2] == "NAME" // the placeholder of the introduction
		for test := range declared {
			found = found || declared[test][run[1]] && strings.Contains(test, run[2])
		}
		if !found {
			problems = append(problems, fmt.Sprintf("%s: %q runs nothing", name, run[0]))
		}
	}
	return problems
}

func TestTidyDocsNameTestsThatExist(t *testing.T) {
	sources := loadSources(t)
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	formats, _ := filepath.Glob("docs/formats/*.md")
	var problems []string
	for _, page := range slices.Concat(pages, formats, []string{"README.md", "ARCHITECTURE.md"}) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		problems = append(problems, checkDocs(page, string(text), sources)...)
	}
	report(t, problems)

	planted := []*source{parseSource(t, "a/a_test.go", "package a\nfunc TestReal(t *testing.T) {}")}
	expect(t, checkDocs("x.md", "`TestReal`, `TestGone`, go test ./a -run Real, go test ./a -run Nothing", planted),
		"names TestGone", `-run Nothing" runs nothing`)
}
