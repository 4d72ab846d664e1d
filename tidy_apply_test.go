package godwit_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// applyMarker stands above the package clause of every file of the apply path:
// what a replica runs on a committed command. Two replicas that run it must
// end in the same state, today and on a replay years later.
const applyMarker = "//tidy:apply"

// applyImports may not be used there: clocks, randomness, and the machine the
// process happens to run on.
var applyImports = []string{
	"crypto/rand", "hash/maphash", "log/slog", "math/big", "math/rand", "math/rand/v2", "net", "os", "runtime", "sync", "sync/atomic", "time",
}

func isApply(s *source) bool {
	return slices.ContainsFunc(s.file.Comments, func(g *ast.CommentGroup) bool {
		return g.Pos() < s.file.Package && slices.ContainsFunc(g.List, func(c *ast.Comment) bool { return strings.TrimSpace(c.Text) == applyMarker })
	})
}

// checkApplyMarked wants a marked file, and the marker on files that by their
// name belong to the apply path.
func checkApplyMarked(sources []*source) (problems []string) {
	marked := 0
	for _, s := range sources {
		base := path.Base(s.path)
		switch {
		case s.test:
		case isApply(s):
			marked++
		case strings.HasPrefix(base, "machine") || strings.HasPrefix(base, "apply"):
			problems = append(problems, s.path+": a file of the apply path without "+applyMarker)
		}
	}
	if marked == 0 {
		problems = append(problems, "no file carries "+applyMarker)
	}
	return problems
}

// exportData finds compiled packages: the go command builds what is missing.
func exportData(t testing.TB, packages ...string) types.Importer {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}}\t{{.Export}}{{end}}"}, packages...)
	cmd := exec.Command("go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, file, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			files[name] = file
		}
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) { return os.Open(files[name]) })
}

// applyChecker walks the marked files of one type-checked package.
type applyChecker struct {
	pkg      *types.Package
	info     *types.Info
	marked   map[string]bool // file name in positions: carries the marker
	fset     *token.FileSet
	problems []string
}

func (c *applyChecker) complain(n ast.Node, format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf("%s: apply path: ", c.fset.Position(n.Pos()))+fmt.Sprintf(format, args...))
}

// checkApply type-checks the package's files, which share one FileSet, and
// reports what would make two replicas differ.
func checkApply(t testing.TB, fset *token.FileSet, files []*ast.File, imports types.Importer) []string {
	t.Helper()
	c := &applyChecker{fset: fset, marked: map[string]bool{}, info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}}
	for _, f := range files {
		c.marked[fset.Position(f.Package).Filename] = isApply(&source{file: f})
	}
	pkg, err := (&types.Config{Importer: imports}).Check(files[0].Name.Name, fset, files, c.info)
	if err != nil {
		t.Fatalf("type-check: %v", err)
	}
	c.pkg = pkg
	for _, f := range files {
		if c.marked[fset.Position(f.Package).Filename] {
			c.imports(f)
			ast.PreorderStack(f, nil, c.node)
		}
	}
	return c.problems
}

func (c *applyChecker) imports(f *ast.File) {
	for _, spec := range f.Imports {
		if name, _ := strconv.Unquote(spec.Path.Value); slices.Contains(applyImports, name) {
			c.complain(spec, "imports %s", name)
		}
	}
}

// node judges one syntax node; stack holds its parents, outermost first.
func (c *applyChecker) node(n ast.Node, stack []ast.Node) bool {
	switch n := n.(type) {
	case *ast.RangeStmt:
		if _, isMap := c.info.TypeOf(n.X).Underlying().(*types.Map); isMap {
			c.complain(n, "ranges over a map, whose order differs between replicas")
		}
	case *ast.GoStmt:
		c.complain(n, "starts a goroutine")
	case *ast.SelectStmt:
		c.complain(n, "selects, and the choice is random")
	case *ast.SelectorExpr:
		if obj := c.info.Uses[n.Sel]; obj != nil && obj.Pkg() != nil && obj.Pkg().Path() == "maps" && slices.Contains([]string{"All", "Keys", "Values"}, obj.Name()) && !c.sorted(stack) {
			c.complain(n, "iterates over a map by maps.%s without sorting", obj.Name())
		}
	case *ast.Ident:
		c.call(n)
	}
	if e, ok := n.(ast.Expr); ok {
		if tv, known := c.info.Types[e]; known {
			if basic, ok := tv.Type.Underlying().(*types.Basic); ok && basic.Info()&(types.IsFloat|types.IsComplex) != 0 {
				c.complain(n, "uses the floating-point type %s", tv.Type)
				return false
			}
		}
	}
	return true
}

// sorted reports whether the nearest enclosing calls sort what they are given.
func (c *applyChecker) sorted(stack []ast.Node) bool {
	for _, n := range slices.Backward(stack) {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			continue
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
			if obj := c.info.Uses[sel.Sel]; obj != nil && obj.Pkg() != nil && obj.Pkg().Path() == "slices" && strings.HasPrefix(obj.Name(), "Sorted") {
				return true
			}
		}
	}
	return false
}

// call refuses functions of the same package that are not part of the path:
// what they do is not checked.
func (c *applyChecker) call(id *ast.Ident) {
	f, ok := c.info.Uses[id].(*types.Func)
	if !ok || f.Pkg() != c.pkg {
		return
	}
	if file := c.fset.Position(f.Pos()).Filename; !c.marked[file] && !types.IsInterface(recv(f)) {
		c.complain(id, "uses %s of %s, which does not carry %s", f.Name(), path.Base(file), applyMarker)
	}
}

// recv returns the type of a method's receiver, or an invalid type.
func recv(f *types.Func) types.Type {
	if r := f.Signature().Recv(); r != nil {
		return r.Type()
	}
	return types.Typ[types.Invalid]
}

func TestTidyApplyIsPure(t *testing.T) {
	var chat []*source
	for _, s := range loadSources(t) {
		if s.dir != "chat" || s.test {
			continue
		}
		if built, err := build.Default.MatchFile(s.dir, path.Base(s.path)); err != nil || !built {
			continue // left out by a build tag
		}
		chat = append(chat, s)
	}
	report(t, checkApplyMarked(chat))
	fset := token.NewFileSet()
	var files []*ast.File
	for _, s := range chat {
		files = append(files, parseInto(t, fset, s.path, nil))
	}
	report(t, checkApply(t, fset, files, exportData(t, "./chat")))
}

const impureSource = `// Package a has every fault.
//
//tidy:apply
package a

import (
	"maps"
	"slices"
	"time"
)

type store interface{ get() int }

type rows map[string]int

func f(m rows, s store, done chan int) {
	for range m {
	}
	for range []int{1} {
	}
	_ = slices.Sorted(maps.Keys(m))
	for range maps.Keys(m) {
	}
	_ = time.Now()
	x := len(m)
	y := float64(x)
	_ = y
	s.get()
	inside()
	outside()
	go inside()
	select {
	case <-done:
	default:
	}
}

func inside() {}
`

func TestTidyApplyCheckSeesEveryFault(t *testing.T) {
	fset := token.NewFileSet()
	files := []*ast.File{
		parseInto(t, fset, "a/a.go", impureSource),
		parseInto(t, fset, "a/b.go", "package a\nimport \"time\"\nfunc outside() { _ = time.Now() }\n"),
	}
	expect(t, checkApply(t, fset, files, exportData(t, "maps", "slices", "time")),
		"imports time", "ranges over a map", "by maps.Keys", "float64", "float64", "outside of b.go", "starts a goroutine", "selects")
	expect(t, checkApplyMarked([]*source{parseSource(t, "chat/machine.go", "package chat"), parseSource(t, "chat/service.go", "package chat")}),
		"chat/machine.go: a file of the apply path", "no file carries")
}
