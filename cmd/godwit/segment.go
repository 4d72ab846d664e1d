package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/node"
)

func (a *app) segmentCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "segment",
		Short: "Look into segment files, of a store or a backup",
		Long: `Look into segment files: DATA/engine/segments/*.seg, or those of a backup. They
never change, so a running server does not mind. docs/formats/segment.md says
what is in them.`,
		Example: `  godwit segment check ./data/engine/segments
  godwit segment dump ./data/engine/segments/0000000000000001.seg`,
	})
	c.AddCommand(a.segmentDumpCommand(), a.segmentCheckCommand())
	return c
}

func (a *app) segmentDumpCommand() *cobra.Command {
	var view node.SegmentView
	var log string
	c := &cobra.Command{
		Use:   "dump FILE",
		Short: "Print what a segment is, and the entries of one log in it",
		Example: `  godwit segment dump 0000000000000001.seg
  godwit segment dump 0000000000000001.seg --blocks
  godwit segment dump 0000000000000001.seg --log 211/3 --bodies --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if log != "" {
				if view.Log, err = parseLog(log); err != nil {
					return err
				}
				view.HasLog = true
			}
			return work(func(*cobra.Command, []string) error {
				if !a.json {
					return node.DumpSegment(a.stdout, args[0], view)
				}
				info, err := node.DescribeSegment(args[0], view)
				if err != nil {
					return err
				}
				return a.printJSON(info)
			})(c, args)
		},
	}
	c.Flags().BoolVar(&view.Blocks, "blocks", false, "a line per block")
	c.Flags().StringVar(&log, "log", "", "entries of this log, `PARTITION/NUMBER` or the whole id")
	c.Flags().BoolVar(&view.Bodies, "bodies", false, "and what they hold")
	return c
}

// parseLog reads a log as dump prints it, or its id.
func parseLog(text string) (godwit.LogID, error) {
	partition, number, ok := strings.Cut(text, "/")
	if !ok {
		id, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			return 0, fmt.Errorf("--log %q is neither PARTITION/NUMBER nor an id", text)
		}
		return godwit.LogID(id), nil
	}
	p, err := strconv.ParseUint(partition, 10, 16)
	n, err2 := strconv.ParseUint(number, 10, 48)
	if errors.Join(err, err2) != nil || p >= godwit.Partitions {
		return 0, fmt.Errorf("--log %q is neither PARTITION/NUMBER nor an id", text)
	}
	return godwit.NewLogID(godwit.Partition(p), n), nil
}

func (a *app) segmentCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE|DIR…",
		Short: "Read whole segments and say all that is wrong with them",
		Long: `Read segments, or all in a directory, from the first byte to the last: every
checksum, every entry, and what index, filter and footer say of them. Each
problem is a line; with one the exit code is 1.`,
		Example: `  godwit segment check ./data/engine/segments
  godwit segment check 0000000000000001.seg 0000000000000002.seg --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: work(func(c *cobra.Command, args []string) error {
			checked, damaged := 0, 0
			for _, arg := range args {
				paths, err := segmentsIn(arg)
				if err != nil {
					return err
				}
				for _, path := range paths {
					if err := c.Context().Err(); err != nil {
						return err
					}
					whole, err := a.checkSegment(path)
					if err != nil {
						return err
					}
					if checked++; !whole {
						damaged++
					}
				}
			}
			if damaged > 0 {
				return fmt.Errorf("%d of %d segments: %w", damaged, checked, errDamaged)
			}
			return nil
		}),
	}
}

// segmentsIn returns a file, or the segments in a directory.
func segmentsIn(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	paths, err := node.SegmentFiles(arg)
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("%s holds no segment", arg)
	}
	return paths, err
}

func (a *app) checkSegment(path string) (whole bool, err error) {
	bad, err := node.CheckSegment(path)
	if err != nil {
		return false, err
	}
	if a.json {
		return len(bad) == 0, a.printJSON(struct {
			File     string   `json:"file"`
			OK       bool     `json:"ok"`
			Problems []string `json:"problems"`
		}{path, len(bad) == 0, append([]string{}, bad...)})
	}
	for _, text := range bad {
		fmt.Fprintf(a.stdout, "%s: %s\n", path, printable(text))
	}
	if len(bad) == 0 {
		_, err = fmt.Fprintf(a.stdout, "%s: whole\n", path)
	}
	return len(bad) == 0, err
}
