//go:build !linux

package main

import (
	"fmt"
	"os"
)

const workerArgument = "powerloss-worker"

func supervise(options) int {
	fmt.Fprintln(os.Stderr, "powerloss: needs Linux: loop devices and FS_IOC_SHUTDOWN")
	return exitUsage
}

func workerMain([]string) int { return supervise(options{}) }
