package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/harness/load"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/scenario"
	"github.com/godwit-im/godwit/node"
)

// benchServer is a server of this same program on a fresh directory, with a key
// and ports of its own, and as many edge processes as the scenario wants.
type benchServer struct {
	data    *load.DataDir
	dir     string
	edges   int
	secret  []byte // of its HS256 key; nil: it believes the development key of dir
	before  record.Memory
	running *load.Server
}

// startServer starts it on a fresh directory below parent.
func startServer(ctx context.Context, parent string, sc *scenario.Scenario) (*benchServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &benchServer{}
	if s.before, err = record.MachineMemory(); err != nil {
		return nil, err
	}
	if s.data, err = load.NewDataDir(parent); err != nil {
		return nil, err
	}
	s.dir = filepath.Join(s.data.Path, "server")
	args := []string{"serve", "--json", "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--data", s.dir}
	var environ []string
	if sc.Tokens == scenario.TokensHS256 {
		if environ, err = s.makeSecret(); err != nil {
			return nil, errors.Join(err, s.close())
		}
	} else {
		args = append(args, "--dev")
	}
	if s.edges, _ = sc.Processes(); s.edges > 0 {
		args = append(args, "--edges", strconv.Itoa(s.edges))
	}
	if sc.Ping > 0 {
		environ = append(environ, "GODWIT_EDGE_PING="+sc.Ping.String())
	}
	if sc.Kind == scenario.KindFlap { // its users know each other by nothing but its name
		environ = append(environ, "GODWIT_PRESENCE_VISIBLE="+node.PresenceAll)
	}
	var log bytes.Buffer
	if s.running, err = load.StartServer(ctx, &log, environ, self, args...); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s", err, bytes.TrimSpace(log.Bytes())), s.close())
	}
	return s, nil
}

// makeSecret writes a keys file and returns the variables that name it.
func (s *benchServer) makeSecret() (environ []string, err error) {
	s.secret = make([]byte, 32)
	_, _ = rand.Read(s.secret)
	keys := fmt.Sprintf("keys: [{kid: %s, alg: HS256, key: %q}]\n", load.TokenKeyID, base64.StdEncoding.EncodeToString(s.secret))
	file := filepath.Join(s.data.Path, "keys.yaml")
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		return nil, err
	}
	return []string{"GODWIT_AUTH_KEYS_FILE=" + file, "GODWIT_AUTH_ISSUER=" + load.TokenIssuer, "GODWIT_AUTH_AUDIENCE=" + load.TokenAudience}, nil
}

// configure makes a run use the server.
func (s *benchServer) configure(cfg *load.Config) {
	cfg.Endpoint = load.Endpoint{URL: s.running.URL, Metrics: s.running.Ops + "/metrics", PID: s.running.PID}
	if s.edges > 0 {
		cfg.Endpoint.Edges = s.running.Ops + edgesPath
	}
	cfg.Dir, cfg.Server.Groups, cfg.Before, cfg.TokenSecret = s.data.Path, 1, s.before, s.secret
	cfg.Tokens = s.mint
}

// edgesPath lists the edge processes, at the ops address.
const edgesPath = "/v1/edges"

func (s *benchServer) mint(users []string) ([]string, error) {
	if s.secret == nil {
		return mintAll(s.dir, users)
	}
	minter := load.NewMinter(s.secret, time.Now().Add(tokenTTL))
	tokens := make([]string, len(users))
	for i, user := range users {
		tokens[i] = string(minter.AppendToken(nil, []byte(user)))
	}
	return tokens, nil
}

// close ends the server and removes its data.
func (s *benchServer) close() error {
	if s.running != nil {
		s.running.Close()
	}
	return s.data.Remove()
}

func mintAll(data string, users []string) ([]string, error) {
	if len(users) == 0 {
		return nil, nil
	}
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
