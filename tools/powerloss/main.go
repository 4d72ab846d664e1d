package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	runtime.LockOSThread() // see start
	if code, ok := hidden(os.Args[1:]); ok {
		os.Exit(code)
	}
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "powerloss:", err)
		os.Exit(exitUsage)
	}
	os.Exit(supervise(o))
}

// hidden runs the parts of this program that are processes of their own.
func hidden(arguments []string) (code int, ok bool) {
	switch {
	case len(arguments) > 0 && arguments[0] == childArgument:
		return childMain(arguments[1:]), true
	case len(arguments) > 0 && arguments[0] == workerArgument:
		return workerMain(arguments[1:]), true
	}
	return 0, false
}

// options are the flags, and what the supervisor adds.
type options struct {
	Rounds      int
	Filesystems []string
	Dir         string // where the work directory is made
	Report      string
	Size        int64
	Seed        uint64
	Seeded      string // the binary with planted faults; empty: built
	Keep        string

	Work   string
	Commit string
}

// xfsBytesMin: mkfs.xfs makes nothing smaller.
const xfsBytesMin = 300 << 20

const sizeBytesMin = 128 << 20

func parseOptions(arguments []string, output io.Writer) (o options, err error) {
	f := flag.NewFlagSet("powerloss", flag.ContinueOnError)
	f.SetOutput(output)
	f.IntVar(&o.Rounds, "rounds", 20, "`rounds`, each on a fresh file system with several lives")
	systems := f.String("fs", "ext4", "file `systems`, in turns: ext4, xfs, or ext4,xfs")
	f.StringVar(&o.Dir, "dir", os.TempDir(), "`directory` on a real disk for the loop devices' files")
	f.StringVar(&o.Report, "report", "", "write the report to this `file`, and beside it as JSON")
	size := f.String("size", "512MiB", "`size` of a file system")
	f.Uint64Var(&o.Seed, "seed", 0, "`seed` of what is decided ahead (0: a random one)")
	f.StringVar(&o.Seeded, "seeded-binary", "", "`program`: this one built with -tags seededbugs (default: it is built)")
	f.StringVar(&o.Keep, "keep", "", "copy each store to this `directory` before it is opened, and stop at the first violation")
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	if o.Size, err = parseSize(*size); err != nil {
		return o, err
	}
	o.Filesystems = strings.Split(*systems, ",")
	for _, name := range o.Filesystems {
		if name != "ext4" && name != "xfs" {
			return o, fmt.Errorf("-fs %s: want ext4, xfs, or ext4,xfs", *systems)
		}
		if name == "xfs" && o.Size < xfsBytesMin {
			return o, fmt.Errorf("-size %s: xfs needs at least 300MiB", *size)
		}
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", f.Arg(0))
	case o.Rounds < 1:
		return o, fmt.Errorf("-rounds %d: want at least 1", o.Rounds)
	case o.Size < sizeBytesMin:
		return o, fmt.Errorf("-size %s: want at least 128MiB", *size)
	}
	for o.Seed == 0 {
		var b [4]byte
		rand.Read(b[:]) // never fails
		o.Seed = uint64(binary.LittleEndian.Uint32(b[:]))
	}
	return o, nil
}

// parseSize understands 512MiB and 1GiB.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	number := s
	for suffix, u := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = rest, u
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<40/unit {
		return 0, fmt.Errorf("size %q: want a number of MiB or GiB, such as 512MiB", s)
	}
	return n * unit, nil
}
