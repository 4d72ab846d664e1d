package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/harness/load"
)

// benchServers are servers of this same program, independent of each other:
// each has a fresh directory, a key and ports of its own.
type benchServers struct {
	data    *load.DataDir
	dirs    []string
	running []*load.Server
}

// startServers starts n servers on a fresh directory below parent.
func startServers(ctx context.Context, parent string, n int) (*benchServers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data, err := load.NewDataDir(parent)
	if err != nil {
		return nil, err
	}
	s := &benchServers{data: data}
	for i := range n {
		dir := filepath.Join(data.Path, "server-"+strconv.Itoa(i+1))
		var log bytes.Buffer
		server, err := load.StartServer(ctx, &log, self, "serve", "--json", "--dev", "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--data", dir)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %s", err, bytes.TrimSpace(log.Bytes())), s.close())
		}
		s.dirs, s.running = append(s.dirs, dir), append(s.running, server)
	}
	return s, nil
}

// configure makes a run use the servers.
func (s *benchServers) configure(cfg *load.Config) {
	for _, server := range s.running {
		cfg.Servers = append(cfg.Servers, load.Endpoint{URL: server.URL, Metrics: server.Ops + "/metrics", PID: server.PID})
	}
	cfg.Dir, cfg.Server.Groups = s.data.Path, 1
	cfg.Tokens = func(server int, users []string) ([]string, error) { return mintAll(s.dirs[server], users) }
}

// close ends the servers and removes their data.
func (s *benchServers) close() error {
	for _, server := range s.running {
		server.Close()
	}
	return s.data.Remove()
}

func mintAll(data string, users []string) ([]string, error) {
	signer, err := auth.DevSigner(data, nil)
	if err != nil {
		return nil, err
	}
	tokens := make([]string, len(users))
	for i, user := range users {
		if tokens[i], err = signer.Mint(godwit.UserID(user), tokenTTL); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}
