package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/node"
)

func (a *app) restoreCommand() *cobra.Command {
	var from, data string
	var copies bool
	c := &cobra.Command{
		Use:   "restore",
		Short: "Make a data directory of a backup",
		Long: `Make a data directory of a backup, which is verified first. The directory must
not exist, or be empty. Stop the server whose data it replaces: the two would
number messages alike.

Clients notice: the logs have a new epoch, so each takes a snapshot instead of
going on at a number that may now be another message's. What was sent after the
backup is gone; senders that still have it may send it again.

Files that never change are hard links to the backup's where that is possible.`,
		Example: `  godwit restore --from /backups/20260102T150405.000Z --data ./restored
  godwit restore --from /backups/20260102T150405.000Z --data ./restored --copy
  godwit serve -c godwit.yaml --data ./restored`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if from == "" || data == "" {
				return errors.New("name a backup with --from and a new data directory with --data")
			}
			return work(func(c *cobra.Command, _ []string) error {
				b, err := node.RestoreData(c.Context(), from, data, copies, a.progress())
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(map[string]any{"data": data, "created": b.Created, "groups": len(b.Groups), "files": len(b.Files), "bytes": b.Bytes()})
				}
				_, err = fmt.Fprintf(a.stdout, "%s is as of %s: %d files, %s; serve it with engine.groups %d\n",
					data, b.Created.Format("2006-01-02 15:04:05 MST"), len(b.Files), bytesText(b.Bytes()), len(b.Groups))
				return err
			})(c, nil)
		},
	}
	c.Flags().StringVar(&from, "from", "", "`BACKUP`'s directory")
	c.Flags().StringVar(&data, "data", "", "new data `DIR`ectory")
	c.Flags().BoolVar(&copies, "copy", false, "copy all files, link none")
	return c
}
