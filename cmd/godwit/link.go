package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/link/identity"
)

func (a *app) linkCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "link",
		Short:   "What joins an engine process and edge processes",
		Example: "  godwit link certs --cluster godwit --out ./certs engine:node-1 edge:edge-1 edge:edge-2",
	})
	c.AddCommand(a.linkCertsCommand())
	return c
}

func (a *app) linkCertsCommand() *cobra.Command {
	var cluster, out string
	c := &cobra.Command{
		Use:   "certs --out DIR ROLE:NAME...",
		Short: "Make certificates of the link for a trial",
		Long: `Make an authority and certificates for processes that are joined over a network.
ROLE is engine or edge, NAME the node of that process, and the cluster the
router.cluster of all of them. DIR gets

  ca.crt  ca.key                    the authority, for 10 years
  engine-NAME.crt  engine-NAME.key  for 90 days; and so for each edge

An authority that is there already is used again. No file is ever overwritten: to
renew a certificate, remove its two files and run the command again. The processes
read theirs anew within seconds; ca.key is needed by none of them, and whoever
has it can be any of them. This is for a trial; in earnest an authority of your own
issues certificates with the name godwit://CLUSTER/ROLE/NAME (a URI among the
subject alternative names) and renews them.`,
		Example: `  godwit link certs --cluster godwit --out ./certs engine:node-1 edge:edge-1 edge:edge-2
  GODWIT_LINK_CERT=certs/engine-node-1.crt GODWIT_LINK_KEY=certs/engine-node-1.key GODWIT_LINK_CA=certs/ca.crt \
    godwit serve -c godwit.yaml --role engine --link :7000`,
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" || len(args) == 0 {
				return errors.New("name a directory with --out, and processes as engine:NAME or edge:NAME")
			}
			var all []identity.Identity
			for _, arg := range args {
				role, name, _ := strings.Cut(arg, ":")
				who := identity.Identity{Cluster: cluster, Role: role, Name: name}
				if err := who.Check(); err != nil {
					return fmt.Errorf("%q in cluster %q: %w", arg, cluster, err)
				}
				all = append(all, who)
			}
			return work(func(*cobra.Command, []string) error { return a.makeLinkCerts(out, all) })(c, nil)
		},
	}
	c.Flags().StringVar(&cluster, "cluster", "godwit", "`NAME` of the cluster, router.cluster of its processes")
	c.Flags().StringVar(&out, "out", "", "`DIR`ectory for the files; made if it is not there")
	return c
}

// makeLinkCerts writes the authority, unless it is there, and a pair for each
// process. It looks for what would be overwritten before it writes anything.
func (a *app) makeLinkCerts(dir string, all []identity.Identity) error {
	base := func(who identity.Identity) string { return filepath.Join(dir, who.Role+"-"+who.Name) }
	for _, who := range all {
		if err := free(base(who)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	now := time.Now()
	ca, err := openAuthority(filepath.Join(dir, "ca"), now)
	if err != nil {
		return err
	}
	for _, who := range all {
		pair, err := ca.Issue(who, now)
		if err != nil {
			return err
		}
		if err := writePair(base(who), pair); err != nil {
			return err
		}
		ends := now.Add(identity.CertificateLife)
		if a.json {
			err = a.printJSON(map[string]any{"name": who.String(), "cert": base(who) + ".crt", "key": base(who) + ".key", "ca": filepath.Join(dir, "ca.crt"), "ends": ends.UTC().Format(time.RFC3339)})
		} else {
			_, err = fmt.Fprintf(a.stdout, "%s.crt is %s until %s\n", base(who), who, ends.Format("2006-01-02 15:04"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// free refuses a pair of files of which one is there.
func free(base string) error {
	for _, path := range []string{base + ".crt", base + ".key"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already; remove it first if it is to be replaced", path)
		}
	}
	return nil
}

// openAuthority reads the authority, or makes it where there is none.
func openAuthority(base string, now time.Time) (*identity.Authority, error) {
	cert, err := os.ReadFile(base + ".crt")
	if errors.Is(err, fs.ErrNotExist) {
		if err := free(base); err != nil {
			return nil, err
		}
		ca, err := identity.NewAuthority("Godwit trial authority", now)
		if err != nil {
			return nil, err
		}
		return ca, writePair(base, ca.Pair)
	}
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(base + ".key")
	if err != nil {
		return nil, err
	}
	ca, err := identity.LoadAuthority(identity.Pair{Cert: cert, Key: key}, now)
	if err != nil {
		return nil, fmt.Errorf("%s.crt: %w", base, err)
	}
	return ca, nil
}

// writePair writes two new files, the key for its owner alone.
func writePair(base string, p identity.Pair) error {
	for _, f := range []struct {
		path string
		data []byte
		mode os.FileMode
	}{{base + ".key", p.Key, 0o600}, {base + ".crt", p.Cert, 0o644}} {
		file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if err != nil {
			return err
		}
		_, err = file.Write(f.data)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}
