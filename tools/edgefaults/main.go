package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "edgefaults:", err)
		os.Exit(exitUsage)
	}
	os.Exit(supervise(o))
}
