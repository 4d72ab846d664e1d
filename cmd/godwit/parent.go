package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// underGoRun reports whether this binary was built and started by "go run".
func underGoRun() bool {
	path, err := os.Executable()
	return err == nil && strings.Contains(filepath.ToSlash(path), "/go-build")
}

// watchParent ends this process when the "go run" that started it is killed:
// else a SIGKILL there would leave a child that holds the port and the data.
// It ends as abruptly as it was asked to; the store recovers at the next start.
func watchParent() {
	if !underGoRun() {
		return
	}
	parent := os.Getppid()
	go func() {
		for range time.Tick(200 * time.Millisecond) {
			if os.Getppid() != parent {
				os.Exit(exitFailed)
			}
		}
	}()
}
