package godwit_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the import path of the root package.
const module = "github.com/godwit-im/godwit"

// Bounds of the sources, in lines. "//tidy:long <reason>" directly above a
// function, or above the package clause for a file, lifts them.
const (
	fileLinesMax     = 500
	functionLinesMax = 70
)

// importTable is the layering: a package of ours and the packages of ours it
// may import. "" is the root. A new package is a new row, and a decision.
var importTable = map[string][]string{
	"":                     {},
	"admin":                {""},
	"auth":                 {""},
	"harness/capacity":     {"harness/result"},
	"harness/groups":       {"", "client"},
	"harness/load":         {"", "harness/record", "harness/result", "harness/scenario", "client"},
	"harness/record":       {"harness/result"},
	"harness/report":       {"harness/groups", "harness/result"},
	"harness/result":       {},
	"harness/scenario":     {},
	"chat":                 {""},
	"client":               {""},
	"cmd/godwit":           {"", "admin", "auth", "harness/capacity", "harness/groups", "harness/load", "harness/record", "harness/report", "harness/result", "harness/scenario", "client", "link/identity", "node", "web"},
	"deploy":               {}, // files for installations, and the tests that check them
	"e2e":                  {"", "client"},
	"edge":                 {"", "edge/http1", "edge/ws"},
	"edge/conformance":     {},
	"edge/http1":           {},
	"edge/ws":              {},
	"engine":               {"", "engine/memtable", "engine/rows", "engine/segment", "engine/wal"},
	"engine/memtable":      {""},
	"engine/rows":          {},
	"engine/segment":       {""},
	"engine/wal":           {},
	"internal/loopback":    {},
	"internal/netlab":      {},
	"internal/godwitpb":    {}, // generated: the oracle of the root package's tests
	"hook":                 {},
	"link":                 {"", "link/identity"},
	"link/identity":        {""},
	"node":                 {"", "admin", "auth", "chat", "edge", "engine", "hook", "link", "link/identity", "presence", "router", "router/live", "router/local", "router/tikv", "web"},
	"presence":             {""},
	"router":               {},
	"router/live":          {""},
	"router/local":         {"router"},
	"router/routertest":    {"router"},
	"router/tikv":          {"router"},
	"tools/devtikv":        {"tools/devtikv/server"},
	"tools/devtikv/server": {},
	"tools/edgefaults":     {"", "client", "harness/load", "internal/netlab"},
	"sdk/js":               {}, // embeds the module for the page; a folder of JavaScript otherwise
	"tools/powerloss":      {"", "engine"},
	"web":                  {"sdk/js"},
}

// testImportTable is what test files may import beyond their package's row.
var testImportTable = map[string][]string{
	"":                 {"internal/godwitpb"},
	"chat":             {"engine", "router/live"}, // the machine on the real store, crashes included
	"cmd/godwit":       {"internal/loopback"},
	"deploy":           {"internal/loopback", "node"}, // would a server accept the configurations?
	"e2e":              {"internal/netlab"},
	"edge":             {"client"},
	"edge/conformance": {"", "edge"},
	"node":             {"internal/loopback"},
	"router":           {"router/local", "router/routertest"},
	"router/local":     {"router/routertest"},
	"router/tikv":      {"router/routertest", "tools/devtikv/server"},
}

// foreignTable names modules that only some packages may use.
var foreignTable = map[string][]string{
	"github.com/tikv/client-go":            {"router/tikv", "tools/devtikv/server"},
	"github.com/tikv/pd":                   {"router/tikv", "tools/devtikv/server"},
	"github.com/pingcap/kvproto":           {"router/tikv", "tools/devtikv/server"},
	"go.etcd.io/raft":                      {"engine"},
	"github.com/cockroachdb/pebble":        {"engine/rows"},
	"github.com/cockroachdb/pebble/v2/vfs": {"engine", "engine/rows", "engine/segment", "engine/wal"},
	"github.com/klauspost/compress":        {"edge/ws", "engine/segment"},
	"github.com/maypok86/otter":            {"engine/segment"},
	"github.com/panjf2000/gnet":            {"edge", "harness/load"},
	"github.com/pires/go-proxyproto":       {"edge"},
	"github.com/valyala/fasthttp":          {"edge"},
	"google.golang.org/grpc":               {"link", "router/tikv", "tools/devtikv/server"},
	"github.com/prometheus/client_golang":  {"node"},
	"github.com/golang-jwt/jwt":            {"auth"},
	"github.com/HdrHistogram":              {"harness/record"},
	"github.com/lxzan/gws":                 {"client", "harness/load"},
	"github.com/spf13/cobra":               {"cmd/godwit"},
	"github.com/caarlos0/env":              {"node"},
	"pgregory.net/rapid":                   {}, // tests only, as the next three
	"go.uber.org/goleak":                   {},
	"github.com/cockroachdb/datadriven":    {},
	"google.golang.org/protobuf/testing":   {},
}

// source is one parsed Go file of the module.
type source struct {
	path string // from the repository's root, with slashes
	dir  string // the package's folder, "" for the root
	fset *token.FileSet
	file *ast.File
	test bool
}

func (s *source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

func (s *source) lines() int { return s.fset.File(s.file.FileStart).LineCount() }

func (s *source) at(pos token.Pos) string { return fmt.Sprintf("%s:%d", s.path, s.line(pos)) }

// parseSource parses one file; src nil reads it from disk.
func parseSource(t testing.TB, name string, src any) *source {
	t.Helper()
	fset := token.NewFileSet()
	file := parseInto(t, fset, name, src)
	dir := path.Dir(name)
	if dir == "." {
		dir = ""
	}
	return &source{path: name, dir: dir, fset: fset, file: file, test: strings.HasSuffix(name, "_test.go")}
}

func parseInto(t testing.TB, fset *token.FileSet, name string, src any) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(fset, filepath.FromSlash(name), src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return file
}

// loadSources parses every Go file of the module that people write.
func loadSources(t testing.TB) (all []*source) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() && name != ".":
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own
			}
		case strings.HasSuffix(name, ".go"):
			all = append(all, parseSource(t, filepath.ToSlash(name), nil))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d sources only: the walk is broken", len(all))
	}
	return all
}

// written leaves generated files out.
func written(sources []*source) []*source {
	return slices.DeleteFunc(slices.Clone(sources), func(s *source) bool { return ast.IsGenerated(s.file) })
}

func report(t *testing.T, problems []string) {
	t.Helper()
	for _, problem := range problems {
		t.Error(problem)
	}
}

// expect fails unless the problems are exactly those with the wanted parts:
// a checker that can't fail proves nothing.
func expect(t *testing.T, problems []string, want ...string) {
	t.Helper()
	if len(problems) != len(want) {
		t.Fatalf("planted %d violations, the check reports %d:\n%s", len(want), len(problems), strings.Join(problems, "\n"))
	}
	for i := range want {
		if !strings.Contains(problems[i], want[i]) {
			t.Errorf("report %d is %q, want one about %q", i, problems[i], want[i])
		}
	}
}

func within(module, importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// checkImports holds every file to the three tables.
func checkImports(sources []*source) (problems []string) {
	for _, s := range sources {
		allowed, ok := importTable[s.dir]
		if !ok {
			problems = append(problems, fmt.Sprintf("%s: package %q has no row in the import table of tidy_test.go", s.path, s.dir))
			continue
		}
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if within(module, imported) {
				dir := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
				if slices.Contains(allowed, dir) || s.test && (dir == s.dir || slices.Contains(testImportTable[s.dir], dir) || dir == "") {
					continue
				}
				problems = append(problems, fmt.Sprintf("%s: package %q may not import %q", s.at(spec.Pos()), s.dir, dir))
			} else if owner, users := foreignRule(imported); owner != "" && !s.test && !slices.Contains(users, s.dir) {
				problems = append(problems, fmt.Sprintf("%s: package %q may not import %s", s.at(spec.Pos()), s.dir, imported))
			}
		}
	}
	return problems
}

// foreignRule returns the longest row of foreignTable that covers the import.
func foreignRule(imported string) (owner string, users []string) {
	for module, allowed := range foreignTable {
		if (within(module, imported) || strings.HasPrefix(imported, module+"/")) && len(module) > len(owner) {
			owner, users = module, allowed
		}
	}
	return owner, users
}

func TestTidyImports(t *testing.T) {
	report(t, checkImports(loadSources(t)))
	expect(t, checkImports([]*source{
		parseSource(t, "chat/a.go", `package chat; import ("github.com/godwit-im/godwit"; "github.com/godwit-im/godwit/engine")`),
		parseSource(t, "chat/a_test.go", `package chat; import "github.com/godwit-im/godwit/engine"`),
		parseSource(t, "client/a.go", `package client; import "github.com/godwit-im/godwit/edge/ws"`),
		parseSource(t, "chat/b.go", `package chat; import "go.etcd.io/raft/v3/raftpb"`),
		parseSource(t, "engine/wal/a.go", `package wal; import ("github.com/cockroachdb/pebble/v2/vfs"; "github.com/cockroachdb/pebble/v2")`),
		parseSource(t, "engine/a.go", `package engine; import ("github.com/cockroachdb/pebble/v2/vfs"; "go.etcd.io/raft/v3"; "pgregory.net/rapid")`),
		parseSource(t, "engine/a_test.go", `package engine; import "pgregory.net/rapid"`),
		parseSource(t, "comet/a.go", `package comet`),
	}),
		`"chat" may not import "engine"`, `"client" may not import "edge/ws"`, `"chat" may not import go.etcd.io/raft`,
		`"engine/wal" may not import github.com/cockroachdb/pebble/v2`, `"engine" may not import pgregory.net/rapid`, `"comet" has no row`)
}

// checkSizes bounds files and functions.
func checkSizes(sources []*source) (problems []string) {
	for _, s := range sources {
		if n := s.lines(); n > fileLinesMax && !excusedFile(s) {
			problems = append(problems, fmt.Sprintf("%s: %d lines, at most %d", s.path, n, fileLinesMax))
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > functionLinesMax && !excused(f.Doc) {
				problems = append(problems, fmt.Sprintf("%s: func %s has %d lines, at most %d; split it or say why with //tidy:long <reason>", s.at(f.Pos()), f.Name.Name, n, functionLinesMax))
			}
		}
	}
	return problems
}

var longEscape = regexp.MustCompile(`^//tidy:long \S+`)

func excused(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return longEscape.MatchString(c.Text) })
}

func excusedFile(s *source) bool {
	return slices.ContainsFunc(s.file.Comments, func(g *ast.CommentGroup) bool { return g.End() < s.file.Package && excused(g) })
}

func TestTidySizes(t *testing.T) {
	report(t, checkSizes(written(loadSources(t))))
	body := func(lines int) string { return "{\n" + strings.Repeat("\n", lines-2) + "}\n" }
	expect(t, checkSizes([]*source{
		parseSource(t, "a/a.go", "package a\nfunc fits() "+body(functionLinesMax)),
		parseSource(t, "a/b.go", "package a\nfunc tooLong() "+body(functionLinesMax+1)),
		parseSource(t, "a/c.go", "package a\n\n// It is long.\n//\n//tidy:long steps of one sequence\nfunc excused() "+body(functionLinesMax+1)),
		parseSource(t, "a/d.go", "package a\n//tidy:long\nfunc noReason() "+body(functionLinesMax+1)),
		parseSource(t, "a/e.go", "package a\n"+strings.Repeat("\n", fileLinesMax)),
		parseSource(t, "a/f.go", "//tidy:long a table\n\npackage a\n"+strings.Repeat("\n", fileLinesMax)),
	}), "func tooLong", "func noReason", "a/e.go: 50")
}

// checkPackageComments wants one comment per package that says what it is for.
func checkPackageComments(sources []*source) (problems []string) {
	comments := map[string]string{}
	var dirs []string
	for _, s := range sources {
		if s.test && strings.HasSuffix(s.file.Name.Name, "_test") {
			continue
		}
		if _, known := comments[s.dir]; !known {
			dirs = append(dirs, s.dir)
			comments[s.dir] = ""
		}
		want := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			want = "Command " + path.Base(s.dir) + " "
		}
		if text := s.file.Doc.Text(); strings.HasPrefix(text, want) && len(text) > 60 {
			comments[s.dir] = text
		}
	}
	for _, dir := range dirs {
		if comments[dir] == "" {
			problems = append(problems, fmt.Sprintf("%s: no package comment (\"Package name …\") that says what it is for and what it refuses to know", dir))
		}
	}
	return problems
}

func TestTidyPackageComments(t *testing.T) {
	report(t, checkPackageComments(loadSources(t)))
	expect(t, checkPackageComments([]*source{
		parseSource(t, "a/a.go", "package a"),
		parseSource(t, "b/b.go", "// Package b does things and knows nothing of other things, which are many.\npackage b"),
		parseSource(t, "b/c.go", "package b"),
		parseSource(t, "c/c.go", "// Package c.\npackage c"),
		parseSource(t, "cmd/d/d.go", "// Command d does things and knows nothing of other things, which are many.\npackage main"),
	}), "a: no package comment", "c: no package comment")
}

var junkName = regexp.MustCompile(`(^|_)(utils?|common|helpers?|misc)(_|$)`)

// checkNames refuses names that say nothing.
func checkNames(sources []*source) (problems []string) {
	for _, s := range sources {
		if base := strings.TrimSuffix(path.Base(s.path), ".go"); junkName.MatchString(base) || junkName.MatchString(s.file.Name.Name) {
			problems = append(problems, fmt.Sprintf("%s: the name says nothing about what is inside", s.path))
		}
	}
	return problems
}

func TestTidyNoJunkNames(t *testing.T) {
	report(t, checkNames(loadSources(t)))
	expect(t, checkNames([]*source{
		parseSource(t, "a/utility_wal.go", "package a"),
		parseSource(t, "a/string_util.go", "package a"),
		parseSource(t, "common/a.go", "package common"),
		parseSource(t, "a/helpers_test.go", "package a"),
	}), "a/string_util.go", "common/a.go", "a/helpers_test.go")
}

func TestTidyGeneratedIsExcluded(t *testing.T) {
	long := "package a\n" + strings.Repeat("\n", fileLinesMax)
	expect(t, checkSizes(written([]*source{
		parseSource(t, "a/a.pb.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\n\n"+long),
		parseSource(t, "a/b.go", "// This talks about Code generated by x. DO NOT EDIT.\n\n"+long),
	})), "a/b.go")
	for _, s := range loadSources(t) {
		if strings.HasSuffix(s.path, ".pb.go") != ast.IsGenerated(s.file) {
			t.Errorf("%s: generated files, and only they, end in .pb.go and say so in their first line", s.path)
		}
	}
}

// checkFuzzList compares the Makefile's list of fuzz targets with the sources,
// both ways: go test succeeds silently when a target does not exist, and a
// target that is not listed never runs.
func checkFuzzList(makefile string, sources []*source) (problems []string) {
	targets := map[string]bool{}
	for _, s := range sources {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.test && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				targets["./"+s.dir+":"+f.Name.Name] = true
			}
		}
	}
	list := regexp.MustCompile(`(?m)^FUZZ :=((?:.*\\\n)*.*)$`).FindStringSubmatch(makefile)
	if list == nil {
		return []string{"Makefile: no list FUZZ"}
	}
	for _, target := range strings.Fields(strings.ReplaceAll(list[1], "\\\n", " ")) {
		if !targets[target] {
			problems = append(problems, fmt.Sprintf("Makefile: FUZZ names %s, which does not exist", target))
		}
		delete(targets, target)
	}
	for _, target := range slices.Sorted(maps.Keys(targets)) {
		problems = append(problems, fmt.Sprintf("Makefile: FUZZ does not name %s", target))
	}
	return problems
}

func TestTidyFuzzTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkFuzzList(string(makefile), loadSources(t)))
	expect(t, checkFuzzList("FUZZ := ./a:FuzzA \\\n\t./a:FuzzGone\nX := y\n", []*source{
		parseSource(t, "a/a_test.go", "package a\nfunc FuzzA(f *testing.F) {}\nfunc FuzzForgotten(f *testing.F) {}"),
	}), "./a:FuzzGone", "./a:FuzzForgotten")
}
