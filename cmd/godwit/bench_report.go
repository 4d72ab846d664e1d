package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/report"
	"github.com/godwit-im/godwit/harness/result"
)

// errOutdated: `bench page --check` found files that differ.
var errOutdated = errors.New("not what is generated; run bench page")

// readRuns reads result files in their order.
func readRuns(files []string) ([]*result.Run, error) {
	runs := make([]*result.Run, len(files))
	for i, file := range files {
		run, err := result.Read(file)
		if err != nil {
			return nil, err
		}
		runs[i] = run
	}
	return runs, nil
}

// benchReportCommand is `bench report`.
func (a *app) benchReportCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "report RESULT.json…",
		Short: "Write an HTML page about load-test runs",
		Long: `Writes one HTML file about the runs: headline figures, whether they are valid,
charts over time, percentiles, histograms, tables. It opens without a network.`,
		Example: `  godwit bench report bench/results/dm-chat-*.json -o report.html`,
		Args:    cobra.MinimumNArgs(1),
		RunE: work(func(_ *cobra.Command, args []string) error {
			runs, err := readRuns(args)
			if err != nil {
				return err
			}
			if output == "-" {
				return report.WriteHTML(a.stdout, runs)
			}
			if err := writeFile(output, func(w io.Writer) error { return report.WriteHTML(w, runs) }); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"report": output, "runs": len(runs)})
			}
			_, err = fmt.Fprintln(a.stdout, output)
			return err
		}),
	}
	c.Flags().StringVarP(&output, "output", "o", "report.html", "the file to write; - for standard output")
	return c
}

// writeFile writes a file, or says what went wrong up to its closing.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// benchCompareCommand is `bench compare`.
func (a *app) benchCompareCommand() *cobra.Command {
	var benchstat bool
	c := &cobra.Command{
		Use:   "compare A.json[,A2.json…] B.json[,B2.json…]",
		Short: "Compare load-test runs, with confidence intervals",
		Long: `Sets the runs of B against those of A: ratios of geometric means and, given two
runs or more on each side, their 95 % confidence intervals (Welch's, on logs).
One run a side gives a ratio and no interval. Invalid runs are refused.

With --benchstat it prints Go benchmark lines instead, for benchstat -col side;
then one side is enough.`,
		Example: `  godwit bench compare old.json new.json
  godwit bench compare old1.json,old2.json,old3.json new1.json,new2.json,new3.json
  godwit bench compare --benchstat old.json new.json | benchstat -col side /dev/stdin`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 || len(args) == 1 && benchstat {
				return nil
			}
			return fmt.Errorf("two sides are compared, %d given; join the repeated runs of a side with commas", len(args))
		},
		RunE: work(func(_ *cobra.Command, args []string) error {
			sides := make([]report.Side, len(args))
			for i, arg := range args {
				runs, err := readRuns(strings.Split(arg, ","))
				if err != nil {
					return err
				}
				sides[i] = report.Side{Name: arg, Runs: runs}
			}
			if benchstat {
				return report.WriteBenchstat(a.stdout, sides...)
			}
			comparison, err := report.Compare(sides[0], sides[1])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(comparison)
			}
			return comparison.WriteText(a.stdout)
		}),
	}
	c.Flags().BoolVar(&benchstat, "benchstat", false, "print Go benchmark lines for benchstat")
	return c
}

// benchPageCommand is `bench page`.
func (a *app) benchPageCommand() *cobra.Command {
	var site report.Site
	var check bool
	c := &cobra.Command{
		Use:   "page [RESULT.json…]",
		Short: "Write BENCHMARKS.md and its plots from result files",
		Long: `Writes the page of benchmarks and the SVG plots it shows: the newest valid run of
each scenario, invalid runs as such, and the stage benchmarks of stages.txt in the
folder of results. Without arguments it takes every result there. The same inputs
make the same bytes; plots that the page no longer shows are removed.`,
		Example: `  godwit bench page
  godwit bench page --check`,
		RunE: work(func(_ *cobra.Command, args []string) error {
			site.Files = args
			page, err := site.Build()
			if err != nil {
				return err
			}
			change := site.Write
			if check {
				change = site.Changes
			}
			changed, err := change(page)
			if err != nil {
				return err
			}
			if check && len(changed) > 0 {
				return fmt.Errorf("%s: %w", strings.Join(changed, ", "), errOutdated)
			}
			if a.json {
				return a.printJSON(map[string]any{"changed": append([]string{}, changed...)})
			}
			for _, file := range changed {
				if _, err := fmt.Fprintln(a.stdout, file); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	c.Flags().StringVarP(&site.Page, "output", "o", "BENCHMARKS.md", "the page to write")
	c.Flags().StringVar(&site.Results, "results", "bench/results", "the folder of results; plots are written to plots below it")
	c.Flags().BoolVar(&check, "check", false, "write nothing; exit with 1 when something would change")
	return c
}
