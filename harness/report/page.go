package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/godwit-im/godwit/harness/result"
)

// module is cut from the packages' names on the page.
const module = "github.com/godwit-im/godwit"

//go:embed benchmarks.md.tmpl
var pageSource string

// PageInput is a run with the place of its file, as the page links to it: with
// slashes, relative to the page's folder.
type PageInput struct {
	Path string
	Run  *result.Run
}

// Page is BENCHMARKS.md and its plots by their file names.
type Page struct {
	Markdown []byte
	Plots    map[string][]byte
}

// pageData is what the template sees.
type pageData struct {
	Scenarios []*pageRun // the newest valid run of each
	Invalid   []*pageRun
	Engine    *engineSection // nil: never compared
	Edge      *edgeSection   // likewise
	Groups    *groupsSection // likewise
	Packages  []*stagePackage
}

// pageRun is a run as the page shows it; every string may be hostile and goes
// through md, code or fence in the template.
type pageRun struct {
	Path    string
	Run     *result.Run
	Verdict *verdict
	Older   int // valid runs of the scenario that are not shown
	Figures []figure
	Tables  []*table
	Expect  []Expectation
	Plots   []pagePlot
}

type pagePlot struct{ Title, Path string }

// Inputs are what the page is made of; all of them may be empty, and their order
// does not matter.
type Inputs struct {
	Runs    []PageInput
	Engines []EngineInput
	Edges   []EdgeInput
	Groups  []GroupsInput
	Stages  []byte // the output of stage benchmarks
}

// BuildPage makes the page, as a pure function. plotsDir is where the plots will
// stand, relative to the page.
func BuildPage(in Inputs, plotsDir string) (*Page, error) {
	packages, err := parseStages(in.Stages, module)
	if err != nil {
		return nil, err
	}
	page := &Page{Plots: map[string][]byte{}}
	data := &pageData{Engine: engineOf(in.Engines), Edge: edgeOf(in.Edges), Groups: groupsOf(in.Groups), Packages: packages}
	inputs := slices.Clone(in.Runs)
	slices.SortFunc(inputs, newestFirst)
	shown := map[string]*pageRun{}
	for _, input := range inputs {
		if input.Run.Scenario == "" || slug(input.Run.Scenario) != input.Run.Scenario {
			return nil, fmt.Errorf("%s: %q is no name of a scenario", input.Path, clean(input.Run.Scenario, 80))
		}
		run := &pageRun{Path: input.Path, Run: input.Run, Verdict: judge(input.Run)}
		switch known := shown[input.Run.Scenario]; {
		case !run.Verdict.Valid():
			data.Invalid = append(data.Invalid, run)
		case known != nil:
			known.Older++
		default:
			run.Figures, run.Expect = headline(run.Run), expectations(run.Run)
			if t := latencyTable(run.Run); t != nil {
				run.Tables = append(run.Tables, t)
			}
			run.Tables = append(run.Tables, specialTables(run.Run)...)
			run.Plots = page.plot(run.Run, plotsDir)
			data.Scenarios = append(data.Scenarios, run)
			shown[input.Run.Scenario] = run
		}
	}
	page.Markdown, err = fillPage(data)
	return page, err
}

// newestFirst orders by scenario, then by start; runs of one moment by their
// ids and files, so that no order depends on the command line.
func newestFirst(a, b PageInput) int {
	start := func(run *result.Run) time.Time {
		t, _ := time.Parse(time.RFC3339, run.Started) // what is no time is oldest
		return t
	}
	return cmp.Or(
		strings.Compare(a.Run.Scenario, b.Run.Scenario),
		start(b.Run).Compare(start(a.Run)),
		strings.Compare(a.Run.RunID, b.Run.RunID),
		strings.Compare(a.Path, b.Path))
}

// plot draws the charts of a scenario: latency, and where sessions were ramped
// up, what they cost.
func (p *Page) plot(run *result.Run, plotsDir string) (plots []pagePlot) {
	charts := []*chart{percentileChart(run)}
	for _, c := range timeCharts(run) {
		if c.name == "latency" {
			charts = append(charts, c)
		}
	}
	if run.Usage.BytesPerConnection > 0 {
		charts = append(charts, sessionMemoryChart(run))
	}
	for _, c := range charts {
		if c.empty() {
			continue
		}
		name := run.Scenario + "-" + c.name + ".svg"
		c.title = run.Scenario + ": " + c.title
		p.Plots[name] = c.svgFile()
		plots = append(plots, pagePlot{Title: c.title, Path: path.Join(plotsDir, name)})
	}
	return plots
}

// fillPage runs the template. A note of the template, defined as "note <name>",
// stands with the scenario or package of that name.
func fillPage(data *pageData) ([]byte, error) {
	page := template.New("page")
	page.Funcs(template.FuncMap{
		"md": markdown, "code": codeSpan, "fence": fenced, "machine": machineLine, "text": text, "row": tableRow, "rule": tableRule,
		"note": func(name string) (string, error) {
			note := page.Lookup("note " + name)
			if note == nil {
				return "", nil
			}
			var b strings.Builder
			err := note.Execute(&b, nil)
			return strings.TrimSpace(b.String()), err
		},
	})
	if _, err := page.Parse(pageSource); err != nil {
		panic(fmt.Sprintf("BUG: benchmarks.md.tmpl: %v", err))
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("fill the page's template: %w", err)
	}
	// Blank lines are what is left of templates that wrote nothing.
	return append(bytes.TrimSpace(blankLines.ReplaceAll(b.Bytes(), []byte("\n\n"))), '\n'), nil
}

var blankLines = regexp.MustCompile(`\n{3,}`)

// machineLine says in one line where a run took place.
func machineLine(run *result.Run) string {
	h := &run.Host
	parts := []string{
		text(h.CPU), positive(h.Cores) + " cores", recorded(float64(h.MemoryMiB)*(1<<20), size), text(h.Kernel), text(h.Go),
		"GOMAXPROCS " + positive(h.GOMAXPROCS), text(h.FileSystem) + " with fsync p50 " + recorded(h.FsyncP50US, micros),
	}
	return strings.Join(parts, ", ")
}

var markdownSpecial = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;",
	"&", "&amp;", "|", `\|`, "#", `\#`, "~", `\~`, "!", `\!`, "$", `\$`)

// markdown makes text stand for itself, on one line.
func markdown(s string) string { return markdownSpecial.Replace(clean(s, 600)) }

// codeSpan sets text in a code span, also within a table.
func codeSpan(s string) string {
	s = strings.ReplaceAll(clean(s, 600), "|", `\|`)
	if s == "" {
		return absent
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	if len(ticks) > 1 {
		return ticks + " " + s + " " + ticks
	}
	return ticks + s + ticks
}

// fenced sets a command in a code block.
func fenced(s string) string {
	fence := strings.Repeat("`", max(longestRun(s, '`')+1, 3))
	return fence + "sh\n" + clean(s, 4000) + "\n" + fence
}

func longestRun(s string, of rune) int {
	longest, current := 0, 0
	for _, r := range s {
		if r == of {
			current++
		} else {
			current = 0
		}
		longest = max(longest, current)
	}
	return longest
}

// tableRow is a row of cells, the text of which stands for itself.
func tableRow(cells []string) string {
	escaped := make([]string, len(cells))
	for i, cell := range cells {
		escaped[i] = markdown(cell)
	}
	return "| " + strings.Join(escaped, " | ") + " |"
}

// tableRule is the line below a table's head: the first column to the left.
func tableRule(head []string) string {
	return "|---|" + strings.Repeat("---:|", len(head)-1)
}
