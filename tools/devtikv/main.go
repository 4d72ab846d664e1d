// Command devtikv is a TiKV cluster to develop against: a small server that speaks as
// much of PD and TiKV as client-go needs, in memory, with faults on order. Package
// server says what it does not prove.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/godwit-im/godwit/tools/devtikv/server"
)

const usage = `devtikv: a TiKV cluster to develop against, in memory, one PD and one store

  go run ./tools/devtikv --pd 127.0.0.1:2379 --stats 127.0.0.1:2380
  go run ./tools/devtikv --pd 127.0.0.1:0 --slow 300ms --region-errors 0.05
  go run ./tools/devtikv --pd 10.77.0.1:2379 --regions 16

  godwit serve --role edge --router tikv --pd 127.0.0.1:2379

It prints its addresses, and ends at SIGTERM or ^C. SIGUSR1 begins an outage
(--outage says how long). While it runs:

  curl http://127.0.0.1:2380/stats
  curl -X POST http://127.0.0.1:2380/stats/reset
  curl -d '{"slow":"300ms"}'                      http://127.0.0.1:2380/fault
  curl -d '{"outage":"10s"}'                      http://127.0.0.1:2380/fault
  curl -d '{"outage":"10s","outage_of":"pd"}'     http://127.0.0.1:2380/fault
  curl -d '{"stall":"10s"}'                       http://127.0.0.1:2380/fault
  curl -d '{"undetermined":0.01,"region_errors":0.05}' http://127.0.0.1:2380/fault

Flags:
`

// outageDefault is how long SIGUSR1 takes the cluster away when --outage is not given.
const outageDefault = 10 * time.Second

// options are the flags.
type options struct {
	config server.Config
	stats  string
	outage time.Duration
}

func parse(arguments []string, output io.Writer) (o options, err error) {
	f := flag.NewFlagSet("devtikv", flag.ContinueOnError)
	f.SetOutput(output)
	f.Usage = func() {
		fmt.Fprint(output, usage)
		f.PrintDefaults()
	}
	f.StringVar(&o.config.PD, "pd", "127.0.0.1:2379", "`host:port` of PD, what clients are given; port 0 takes a free one")
	f.StringVar(&o.config.KV, "kv", "", "`host:port` of the store (default: a free port of PD's host)")
	f.StringVar(&o.config.Advertise, "advertise", "", "`host` that clients reach both at (default: PD's)")
	f.IntVar(&o.config.Regions, "regions", 1, "`regions` that the key space is cut into")
	f.BoolVar(&o.config.TwoPhase, "two-phase", false, "let no transaction commit in one phase")
	f.StringVar(&o.stats, "stats", "127.0.0.1:0", "`host:port` of the counters and of the faults to order")
	f.DurationVar(&o.config.Faults.Slow, "slow", 0, "`delay` of every answer")
	f.DurationVar(&o.outage, "outage", 0, "begin with an outage of this `duration`; SIGUSR1 begins another")
	f.Float64Var(&o.config.Faults.Undetermined, "undetermined", 0, "`share` of commits that are never answered; half took effect")
	f.Float64Var(&o.config.Faults.RegionErrors, "region-errors", 0, "`share` of requests that are answered with a region error")
	f.Uint64Var(&o.config.Seed, "seed", 1, "`seed` of the dice")
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	if o.outage < 0 {
		return o, fmt.Errorf("outage: %v is negative", o.outage)
	}
	return o, nil
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		outages := make(chan os.Signal, 1)
		signal.Notify(outages, syscall.SIGUSR1)
		err = run(ctx, o, outages, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "devtikv:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, o options, outages <-chan os.Signal, out io.Writer) error {
	cluster, err := server.Start(o.config)
	if err != nil {
		return err
	}
	defer cluster.Close()
	listener, err := net.Listen("tcp", o.stats)
	if err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	web := &http.Server{Handler: cluster.Handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	if o.outage > 0 {
		if err := cluster.Outage(server.Both, o.outage); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "pd on %s\ntikv on %s\nstats on http://%s\n", cluster.PDAddr(), cluster.KVAddr(), listener.Addr())
	for {
		select {
		case <-outages:
			d := o.outage
			if d == 0 {
				d = outageDefault
			}
			if err := cluster.Outage(server.Both, d); err != nil {
				return err
			}
		case err := <-served:
			return err
		case <-ctx.Done():
			_ = web.Close()
			<-served
			return nil
		}
	}
}
