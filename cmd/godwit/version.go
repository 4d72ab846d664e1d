package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release this tree leads to; builds from a tagged module show
// the tag instead.
const version = "0.1.0-dev"

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  godwit version
  godwit version --json`,
		Args: cobra.NoArgs,
		RunE: work(func(*cobra.Command, []string) error {
			shown, revision := programVersion()
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if a.json {
				return a.printJSON(map[string]string{"version": shown, "revision": revision, "go": runtime.Version(), "platform": platform, "protocol": "godwit.v1"})
			}
			_, err := fmt.Fprintf(a.stdout, "godwit %s %s %s protocol godwit.v1\n", shown, runtime.Version(), platform)
			return err
		}),
	}
}

// programVersion is what this program is, and the commit it was built from.
func programVersion() (shown, revision string) {
	shown = version
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			shown = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return shown, revision
}
