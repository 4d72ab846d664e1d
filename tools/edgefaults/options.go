package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// options are the flags.
type options struct {
	Edges    int           // processes
	Sessions int           // of each edge
	Rate     float64       // messages a second, of all
	Steady   time.Duration // traffic before the first fault
	Outage   time.Duration // the directory is away
	Slow     time.Duration // its answers take so long
	SlowFor  time.Duration
	Router   string
	Netns    bool
	Plant    string
	Quick    bool
	JSON     bool
	Report   string
	Godwit   string // binaries; empty: built
	DevTiKV  string
	Dir      string

	given string // the flags that make this run what it is
}

// Routers.
const (
	routerTiKV = "tikv"
	routerNone = "none"
)

const usage = `Break a cluster of Godwit processes under load and look at what its clients got.

usage: go run ./tools/edgefaults [flags]

Starts an engine process, edge processes and a directory (tools/devtikv), opens
sessions of the Go SDK and has every user write to his partner. Then, one after
the other: traffic without a fault; an edge is killed with SIGKILL; the directory is
away; the directory is slow, answers with region errors and leaves commits
undetermined. With -netns each process has a host of its own, whose link is cut and
healed, and which the engine can't reach while clients can.

Everything it started ends with it. The exit code is 1 when anything was lost,
doubled or put out of order, or when a bound was missed, and 2 for wrong flags.

examples:
  go run ./tools/edgefaults -quick -json           # about 40 s; one line of JSON at the end
  go run ./tools/edgefaults                        # 3 edges with 5,000 sessions each
  go run ./tools/edgefaults -quick -netns          # as root: hosts, links that are cut
  go run ./tools/edgefaults -quick -plant lose     # must fail: the checker is checked
  go run ./tools/edgefaults -report docs/reports/edgefaults.txt

flags:
`

func parseOptions(arguments []string, output io.Writer) (o options, err error) {
	f := flag.NewFlagSet("edgefaults", flag.ContinueOnError)
	f.SetOutput(output)
	f.Usage = func() {
		_, _ = io.WriteString(output, usage)
		f.PrintDefaults()
	}
	f.BoolVar(&o.Quick, "quick", false, "a short form: fewer sessions, shorter faults")
	f.BoolVar(&o.JSON, "json", false, "the result as one line of JSON on standard output")
	f.IntVar(&o.Edges, "edges", 3, "edge processes, at least 2")
	f.IntVar(&o.Sessions, "sessions", 5000, "sessions of each edge (quick: 200)")
	f.Float64Var(&o.Rate, "rate", 1000, "durable messages a second, of all users together")
	f.DurationVar(&o.Steady, "steady", 20*time.Second, "traffic before the first fault (quick: 5s)")
	f.DurationVar(&o.Outage, "outage", time.Minute, "how long the directory is away (quick: 5s)")
	f.DurationVar(&o.Slow, "slow", 300*time.Millisecond, "how long each answer of the slow directory takes")
	f.DurationVar(&o.SlowFor, "slow-for", 20*time.Second, "how long it is slow (quick: 4s)")
	f.StringVar(&o.Router, "router", routerTiKV, "`directory` of the cluster: tikv, or none: edges know the engine's address")
	f.BoolVar(&o.Netns, "netns", false, "each process on a host of its own: network namespaces on a bridge; as root")
	f.StringVar(&o.Plant, "plant", plantNone, "plant a `fault` between clients and checker, which must be found: lose, dup or reorder")
	f.StringVar(&o.Report, "report", "", "write the report to this `file`")
	f.StringVar(&o.Godwit, "godwit", "", "`program` godwit (default: it is built)")
	f.StringVar(&o.DevTiKV, "devtikv", "", "`program` devtikv (default: it is built)")
	f.StringVar(&o.Dir, "dir", os.TempDir(), "`directory` on a real disk, in which the store of the run is made")
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	given := map[string]bool{}
	f.Visit(func(set *flag.Flag) {
		given[set.Name] = true
		switch set.Name {
		case "report", "dir", "godwit", "devtikv": // places on this machine
		default:
			o.given += " -" + set.Name + "=" + set.Value.String()
		}
	})
	if o.Quick {
		shorter(&o.Sessions, 200, given["sessions"])
		shorter(&o.Steady, 5*time.Second, given["steady"])
		shorter(&o.Outage, 5*time.Second, given["outage"])
		shorter(&o.SlowFor, 4*time.Second, given["slow-for"])
	}
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("unknown argument %q", f.Arg(0))
	case o.Edges < 2 || o.Edges > 16:
		err = fmt.Errorf("-edges %d: want 2 to 16", o.Edges)
	case o.Sessions < 2 || o.Edges*o.Sessions > 19000:
		err = fmt.Errorf("-edges %d -sessions %d: want at least 2 sessions of each, and at most 19000 together: this process holds all of them", o.Edges, o.Sessions)
	case o.Rate < 1 || o.Rate > 1e5:
		err = fmt.Errorf("-rate %g: want 1 to 100000", o.Rate)
	case o.Steady < time.Second || o.Outage < time.Second || o.SlowFor < time.Second || o.Slow < 0:
		err = errors.New("-steady, -outage and -slow-for: want at least 1s")
	case o.Router != routerTiKV && o.Router != routerNone:
		err = fmt.Errorf("-router %s: want tikv or none", o.Router)
	default:
		err = validPlant(o.Plant)
	}
	return o, err
}

func shorter[T any](field *T, quick T, given bool) {
	if !given {
		*field = quick
	}
}
