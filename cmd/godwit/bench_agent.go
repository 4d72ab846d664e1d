package main

import (
	"bytes"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/harness/load"
)

// standardStreams is this process's input and output as one connection.
type standardStreams struct{}

func (standardStreams) Read(p []byte) (int, error)  { return os.Stdin.Read(p) }
func (standardStreams) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (standardStreams) Close() error                { return os.Stdin.Close() }

func (a *app) benchAgentCommand() *cobra.Command {
	var listen, secretFile string
	c := &cobra.Command{
		Use:   "agent",
		Short: "Generate load on behalf of a bench run on another host",
		Long: `Wait for a bench run that names this host with --agent, and generate its share of
the load. Both sides prove that they know the secret in the file, at least 16
bytes, before anything else; what follows is in the clear, tokens included: use
a private network or a tunnel.

With --listen - it serves one run on its standard input and output.`,
		Example: `  godwit bench agent --listen 10.0.0.7:7070 --secret-file bench.secret
  godwit bench run dm-chat --agent 10.0.0.7:7070 --secret-file bench.secret --url ws://10.0.0.5:8080/v1/ws --data ./data`,
		Args: cobra.NoArgs,
		RunE: work(func(c *cobra.Command, _ []string) error {
			if listen == "-" {
				return load.ServeAgent(standardStreams{})
			}
			secret, err := readSecret(secretFile)
			if err != nil {
				return err
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(a.stdout, "listening on", listener.Addr())
			return load.ListenAgent(c.Context(), listener, secret, func(line string) { _, _ = fmt.Fprintln(a.stderr, "godwit:", line) })
		}),
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:7070", "`ADDR`ess for coordinators, host:port; - for standard input and output")
	c.Flags().StringVar(&secretFile, "secret-file", "", "`FILE` with the secret both sides know")
	return c
}

func readSecret(path string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("give --secret-file: without a secret anybody could use the agent")
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if secret = bytes.TrimSpace(secret); len(secret) < load.SecretBytesMin {
		return nil, fmt.Errorf("%s holds %d bytes; a secret needs at least %d", path, len(secret), load.SecretBytesMin)
	}
	return secret, nil
}
