package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// recipe returns the shell commands under a heading of docs/protocol.md.
func recipe(t *testing.T, heading string) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(doc), "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, found := strings.Cut(section, "\n```sh\n")
	block, _, closed := strings.Cut(block, "\n```\n")
	if !ok || !found || !closed {
		t.Fatalf("docs/protocol.md has no shell commands under %s", heading)
	}
	return block
}

func TestLongPollingRecipeOfTheDocumentWorks(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("curl is missing; make deps installs it")
		}
		t.Skip("curl is missing; make deps installs it (as root), or your package manager does")
	}
	s := newServer(t, "")
	s.start()
	commands := recipe(t, "## Long-polling")
	for _, written := range []string{"http://127.0.0.1:8080", "--data godwit-data"} {
		if !strings.Contains(commands, written) {
			t.Fatalf("the recipe does not say %s", written)
		}
	}
	commands = strings.NewReplacer("http://127.0.0.1:8080", "http://"+s.listen, "--data godwit-data", "--data '"+s.dir+"'").Replace(commands)
	bin := t.TempDir()
	if err := os.Symlink(s.path, filepath.Join(bin, "godwit")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", commands)
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs.String())
	}
	frames := parseFrames(t, godwit.EncodingJSON, out)
	if len(frames) != 3 || frames[0].Send.State != godwit.StateStored || string(frames[1].Event.Msg.Body) != "Buy milk." ||
		frames[1].Event.Seq != frames[0].Send.Seq || frames[2].Poll.Cursor == "" {
		t.Fatalf("the recipe printed %s", out)
	}
}
