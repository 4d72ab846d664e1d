package record

import (
	"bytes"
	"context"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"
)

// UnknownCommit is the commit of a binary that was built without one.
const UnknownCommit = "unknown"

// gitTimeout bounds each git command: a hung file system must not stop a run.
const gitTimeout = 5 * time.Second

// Commit returns the commit this program was built from, "-dirty" appended
// when its sources had been changed. Builds without the mark (go run, go test)
// ask git, provided the current folder lies in this module's sources.
func Commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if commit := builtFrom(info.Settings); commit != UnknownCommit {
			return commit
		}
		return checkedOut(info.Main.Path, git)
	}
	return UnknownCommit
}

func builtFrom(settings []debug.BuildSetting) string {
	revision, modified := "", false
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return marked(revision, modified)
}

// checkedOut asks git, given by a function that runs one of its commands in
// the current folder.
func checkedOut(module string, git func(args ...string) (string, error)) string {
	gomod, err := git("show", "HEAD:go.mod")
	declared, _, _ := strings.Cut(gomod, "\n")
	if err != nil || strings.TrimSpace(declared) != "module "+module {
		return UnknownCommit // another project's folder
	}
	revision, err := git("rev-parse", "HEAD")
	if err != nil {
		return UnknownCommit
	}
	changed, err := git("status", "--porcelain", "--untracked-files=no")
	return marked(strings.TrimSpace(revision), err != nil || strings.TrimSpace(changed) != "")
}

func marked(revision string, modified bool) string {
	switch {
	case revision == "":
		return UnknownCommit
	case modified:
		return revision + "-dirty"
	}
	return revision
}

func git(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gitTimeout)
	defer cancel()
	var out bytes.Buffer
	command := exec.CommandContext(ctx, "git", args...)
	command.Stdout = &out
	err := command.Run()
	return out.String(), err
}
