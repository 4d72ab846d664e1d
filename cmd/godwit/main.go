// Command godwit is the messenger server and its tools in one binary: a file
// per subcommand, which parses flags, calls the package that does the work and
// prints. It decides nothing about messages or storage.
//
// Results go to standard output, logs and complaints to standard error. The
// exit code is 0 for done, 1 for refused or failed, 2 for a wrong command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A reader that goes away (tail | head) shows up as a write error instead of
	// ending the process: a server must outlive its log's pipe.
	signal.Ignore(syscall.SIGPIPE)
	watchParent()
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go obey(signals, cancel, os.Exit)
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	os.Exit(a.run(ctx, os.Args[1:]))
}

// obey asks for a graceful end at the first signal and ends at once at the second.
func obey(signals <-chan os.Signal, end func(), exit func(code int)) {
	<-signals
	end()
	<-signals
	exit(exitFailed)
}
