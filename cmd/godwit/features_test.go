package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var shownBy = regexp.MustCompile("`godwit ([^`]+)`")

// checkCommandLine says what is wrong with a command line that a page shows: a
// command that does not exist, or a flag it does not have.
func checkCommandLine(root *cobra.Command, line string) string {
	quoted := regexp.MustCompile(`'[^']*'`).ReplaceAllString(line, "TEXT")
	args := strings.Fields(quoted)
	c, rest, err := root.Find(args)
	switch {
	case err != nil:
		return err.Error()
	case c == root || c.HasSubCommands():
		return "no subcommand is named"
	}
	for _, arg := range rest {
		name, isFlag := strings.CutPrefix(arg, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil {
			return c.CommandPath() + " has no flag --" + name
		}
	}
	return ""
}

// Every feature is shown by a command, and every command of users shows one.
func TestFeaturesNameCommandsThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/features.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&app{}).command()
	named := map[string]bool{}
	for row := range strings.Lines(string(page)) {
		if !strings.HasPrefix(row, "| ") || strings.HasPrefix(row, "| Feature |") {
			continue
		}
		lines := shownBy.FindAllStringSubmatch(row, -1)
		if len(lines) == 0 {
			t.Errorf("no command shows %q", strings.TrimSpace(row))
		}
		for _, line := range lines {
			if problem := checkCommandLine(root, line[1]); problem != "" {
				t.Errorf("godwit %s: %s", line[1], problem)
			}
			c, _, _ := root.Find(strings.Fields(line[1]))
			named[c.CommandPath()] = true
		}
	}
	for _, path := range commands(root, nil) {
		line := strings.Join(append([]string{"godwit"}, path...), " ")
		c, _, _ := root.Find(path)
		operators := len(path) > 0 && (path[0] == "admin" || path[0] == "bench" || path[0] == "version")
		if !operators && c.Runnable() && !c.HasSubCommands() && !named[line] {
			t.Errorf("docs/features.md has no row for %s", line)
		}
	}
}

func TestFeatureCheckSeesWhatIsWrong(t *testing.T) {
	root := (&app{}).command()
	f := func(want, line string) {
		t.Helper()
		if got := checkCommandLine(root, line); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	f("", "send bob 'hello --nope'")
	f("", "group add g42 dave --json")
	f("no subcommand", "fly")
	f("no subcommand", "group ad g42 dave")
	f("no flag --nope", "tail --nope=1")
}
