package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fenced returns the first fenced block of the given language in a document.
func fenced(t *testing.T, path, language string) string {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "\n```"+language+"\n")
	block, _, closed := strings.Cut(rest, "\n```")
	if !found || !closed {
		t.Fatalf("%s has no %s block", path, language)
	}
	return block + "\n"
}

// TestOrderingDocument runs the script of docs/ordering.md, in which Alice's M1
// and Bob's M2 cross, and compares what it prints with what the page says.
func TestOrderingDocument(t *testing.T) {
	const page = "../docs/ordering.md"
	s := newServer(t, "")
	s.start()
	bin := t.TempDir()
	if err := os.Symlink(s.path, filepath.Join(bin, "godwit")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-e", "-c", fenced(t, page, "sh"))
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GODWIT_DATA="+s.dir, "GODWIT_URL="+s.url())
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != fenced(t, page, "text") {
		t.Fatalf("the page's script: %v\n%s", err, out)
	}
}
