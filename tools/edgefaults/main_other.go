//go:build !linux

package main

import (
	"fmt"
	"os"
)

func supervise(options) int {
	fmt.Fprintln(os.Stderr, "edgefaults: needs Linux: children that die with their parent, network namespaces")
	return exitUsage
}
