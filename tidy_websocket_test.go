package godwit_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	rfcSection = regexp.MustCompile(`^RFC (6455|7692) §\d+(\.\d+)*(, §\d+(\.\d+)*)*$`)
	// sections are those of the RFCs that bind a server and must not be forgotten.
	sections = strings.Fields("6455§4.2.1 6455§4.2.2 6455§4.4 6455§5.1 6455§5.2 6455§5.3 6455§5.4 6455§5.5 6455§5.5.1 6455§5.5.2 6455§5.5.3 6455§5.6 " +
		"6455§7.1.1 6455§7.1.7 6455§7.3 6455§7.4.1 6455§7.4.2 6455§8.1 6455§9.1 6455§10.4 6455§10.7 " +
		"7692§5 7692§6 7692§6.1 7692§6.2 7692§7 7692§7.1.1.1 7692§7.1.1.2 7692§7.1.2 7692§7.1.2.1 7692§7.1.2.2 7692§7.2.1 7692§7.2.2")
)

// checkConformance reads the rows of the tables whose first column is a section:
// each must name the section, a rule and at least one test, and every section in
// the list must have a row. That the tests exist is checkDocs' to say.
func checkConformance(name, text string, want []string) (problems []string) {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		section := strings.TrimSpace(cells[0])
		if !strings.HasPrefix(section, "RFC ") || section == "RFC" || !strings.HasPrefix(line, "|") {
			continue
		}
		switch {
		case len(cells) != 3 || strings.TrimSpace(cells[1]) == "":
			problems = append(problems, fmt.Sprintf("%s: %q is not section, rule, tests", name, line))
		case !rfcSection.MatchString(section):
			problems = append(problems, fmt.Sprintf("%s: %q is not a section", name, section))
		case !testName.MatchString(cells[2]):
			problems = append(problems, fmt.Sprintf("%s: no test shows %q", name, strings.TrimSpace(cells[1])))
		}
		number, list, _ := strings.Cut(strings.TrimPrefix(section, "RFC "), " ")
		for one := range strings.SplitSeq(list, ", ") {
			seen[number+one] = true
		}
	}
	for _, s := range want {
		if !seen[s] {
			problems = append(problems, fmt.Sprintf("%s: no row of RFC %s", name, s))
		}
	}
	return problems
}

func TestTidyConformanceTableIsWhole(t *testing.T) {
	const page = "docs/websocket.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkConformance(page, string(text), sections))
	planted := "| RFC 6455 §5.1 | MUST | `TestReal` |\n| RFC 6455 §5.2 | MUST | by inspection |\n| RFC 6455 5.3 | MUST | `TestReal` |\n| RFC 7692 §6 | `TestReal` |\n"
	expect(t, checkConformance("x.md", planted, []string{"6455§5.1", "6455§8.1"}),
		`no test shows "MUST"`, `"RFC 6455 5.3" is not a section`, "is not section, rule, tests", "no row of RFC 6455§8.1")
}
