package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/node"
)

// errDamaged: a check found something, which was printed.
var errDamaged = errors.New("damaged")

func (a *app) backupCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "backup",
		Short: "Make, list and verify backups of a server's store",
		Long: `Make, list and verify backups of a server's store: messages, conversations and
all that belongs to them. Keys, configuration and certificates are not in it.

A directory holds backups, each in a directory of its own that is whole by
itself; what did not change since the one before is shared with it by hard links.`,
		Example: `  godwit backup create --to /backups           # of the running server on this machine
  godwit backup list /backups
  godwit backup verify /backups                # every byte of every backup
  godwit restore --from /backups/20260102T150405.000Z --data ./restored`,
	})
	c.AddCommand(a.backupCreateCommand(), a.backupListCommand(), a.backupVerifyCommand())
	return c
}

func (a *app) backupCreateCommand() *cobra.Command {
	var to, ops, data string
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a backup of a running server, or of a data directory",
		Long: `Make a backup of a running server on this machine, which goes on working, or with
--data of a data directory that no server uses. Everything acknowledged before
is in it. The server writes the files, so it must be allowed to write there.

A directory on the same file system as the data costs hard links and no room at
first; one on another disk is what survives the loss of the first.`,
		Example: `  godwit backup create --to /backups
  godwit backup create --to /backups --ops 127.0.0.1:8081
  godwit backup create --to /backups --data ./data --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if to == "" {
				return errors.New("name a directory for the backups with --to")
			}
			if data != "" && c.Flags().Changed("ops") {
				return errors.New("give --ops for a running server or --data for a directory, not both")
			}
			return work(func(c *cobra.Command, _ []string) error {
				dir, err := filepath.Abs(to)
				if err != nil {
					return err
				}
				var result node.BackupResult
				if data != "" {
					program, _ := programVersion()
					logger := (&node.Config{Log: node.LogConfig{Level: "warn", Format: "text"}}).NewLogger(a.stderr)
					result, err = node.BackUpData(c.Context(), program, data, dir, logger, a.progress())
				} else {
					result, err = a.askBackup(c.Context(), ops, dir)
				}
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(result)
				}
				_, err = fmt.Fprintf(a.stdout, "%s: %d files, %s\n", result.Path, result.Files, bytesText(result.Bytes))
				return err
			})(c, nil)
		},
	}
	c.Flags().StringVar(&to, "to", "", "`DIR`ectory of the backups; made if it is missing")
	c.Flags().StringVar(&ops, "ops", node.Default().Ops, "ops `ADDR`ess of the running server")
	c.Flags().StringVar(&data, "data", "", "data `DIR`ectory that no server uses")
	return c
}

// askBackup asks a running server, and shows how far it is.
func (a *app) askBackup(ctx context.Context, ops, to string) (result node.BackupResult, err error) {
	body, err := json.Marshal(map[string]string{"to": to})
	if err != nil {
		return result, err
	}
	url := "http://" + strings.TrimPrefix(ops, "http://") + node.BackupPath
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return result, err
	}
	request.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return result, fmt.Errorf("%w: %w; with --data a directory can be backed up without a server", errUnreachable, err)
	}
	defer answer.Body.Close()
	show := a.progress()
	for lines := json.NewDecoder(answer.Body); ; {
		var line node.BackupLine
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return result, fmt.Errorf("the server broke off: there is no backup")
		case err != nil:
			return result, fmt.Errorf("the server at %s does not speak of backups (%s): %w", ops, answer.Status, err)
		case line.Error != nil:
			return result, errors.New(line.Error.Message)
		case line.Backup != nil:
			return *line.Backup, nil
		case line.Progress != nil:
			show(*line.Progress)
		}
	}
}

// progress prints a line on standard error now and then.
func (a *app) progress() func(node.Progress) {
	if a.json {
		return func(node.Progress) {}
	}
	return func(p node.Progress) {
		if p.FilesTotal == 0 {
			fmt.Fprintf(a.stderr, "%s …\n", p.What)
			return
		}
		fmt.Fprintf(a.stderr, "%s: %d of %d, %s of %s\n", p.What, p.Files, p.FilesTotal, bytesText(p.Bytes), bytesText(p.BytesTotal))
	}
}

// bytesText writes a size as people read it.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func (a *app) backupListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list DIR",
		Short: "List the backups in a directory, oldest first",
		Example: `  godwit backup list /backups
  godwit backup list /backups --json`,
		Args: cobra.ExactArgs(1),
		RunE: work(func(_ *cobra.Command, args []string) error {
			list, err := node.ListBackups(args[0])
			if err != nil {
				return err
			}
			for _, b := range list {
				if err := a.printListed(b); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// listed is a line of backup list for programs.
type listed struct {
	Name    string `json:"name"`
	State   string `json:"state"` // whole, partial or damaged
	Created string `json:"created,omitempty"`
	Groups  int    `json:"groups,omitempty"`
	Files   int    `json:"files,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Program string `json:"program,omitempty"`
	Problem string `json:"problem,omitempty"`
}

func (a *app) printListed(b node.ListedBackup) error {
	line := listed{Name: b.Name, State: "whole"}
	switch {
	case b.Partial:
		line.State = "partial"
	case b.Err != nil:
		line.State, line.Problem = "damaged", b.Err.Error()
	default:
		line.Created = b.Backup.Created.Format("2006-01-02T15:04:05.000Z07:00")
		line.Groups, line.Files, line.Bytes, line.Program = len(b.Backup.Groups), len(b.Backup.Files), b.Backup.Bytes(), b.Backup.Program
	}
	if a.json {
		return a.printJSON(line)
	}
	text := fmt.Sprintf("%s  %d files, %s", b.Name, line.Files, bytesText(line.Bytes))
	switch line.State {
	case "partial":
		text = b.Name + "  is being made, or was broken off; the next backup removes it"
	case "damaged":
		text = b.Name + "  damaged: " + printable(line.Problem)
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}

func (a *app) backupVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Read whole backups and say all that is wrong with them",
		Long: `Read a backup, or all in a directory of backups: every file's size and SHA-256,
the manifest's own checksum, every entry of every segment, and what the rows say
of segments and groups. Each problem is a line; with one the exit code is 1.`,
		Example: `  godwit backup verify /backups/20260102T150405.000Z
  godwit backup verify /backups --json`,
		Args: cobra.ExactArgs(1),
		RunE: work(func(c *cobra.Command, args []string) error {
			dirs, err := backupsIn(args[0])
			if err != nil {
				return err
			}
			damaged := 0
			for _, dir := range dirs {
				whole, err := a.verifyBackup(c.Context(), dir)
				if err != nil {
					return err
				}
				if !whole {
					damaged++
				}
			}
			if damaged > 0 {
				return fmt.Errorf("%d of %d backups: %w", damaged, len(dirs), errDamaged)
			}
			return nil
		}),
	}
}

// backupsIn returns the directories of one backup, or of all in dir.
func backupsIn(dir string) (dirs []string, err error) {
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST.json")); err == nil {
		return []string{filepath.Clean(dir)}, nil
	}
	list, err := node.ListBackups(dir)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if !b.Partial {
			dirs = append(dirs, filepath.Join(dir, b.Name))
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%s holds no backup", dir)
	}
	return dirs, nil
}

func (a *app) verifyBackup(ctx context.Context, dir string) (whole bool, err error) {
	b, bad, notes, err := node.VerifyBackup(ctx, dir, a.progress())
	if err != nil {
		return false, err
	}
	if a.json {
		return len(bad) == 0, a.printJSON(struct {
			Path     string   `json:"path"`
			OK       bool     `json:"ok"`
			Files    int      `json:"files"`
			Bytes    int64    `json:"bytes"`
			Problems []string `json:"problems"`
			Notes    []string `json:"notes,omitempty"`
		}{dir, len(bad) == 0, len(b.Files), b.Bytes(), append([]string{}, bad...), notes})
	}
	for _, text := range bad {
		fmt.Fprintf(a.stdout, "%s: %s\n", dir, printable(text))
	}
	for _, text := range notes {
		fmt.Fprintf(a.stderr, "godwit: %s: %s\n", dir, printable(text))
	}
	if len(bad) == 0 {
		_, err = fmt.Fprintf(a.stdout, "%s: whole, %d files, %s\n", dir, len(b.Files), bytesText(b.Bytes()))
	}
	return len(bad) == 0, err
}
