package main

import (
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// The Real test starts this binary as worker and as child.
func TestMain(m *testing.M) {
	runtime.LockOSThread()
	if code, ok := hidden(os.Args[1:]); ok {
		os.Exit(code)
	}
	runtime.UnlockOSThread()
	goleak.VerifyTestMain(m)
}
