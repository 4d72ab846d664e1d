package node

import (
	"context"
	"fmt"
	"time"

	"github.com/godwit-im/godwit/auth"
)

// Keyring returns what verifies clients' tokens, not yet started: it has not
// used the network.
func (cfg *Config) Keyring() (*auth.Keyring, error) {
	a := &cfg.Auth
	keys := auth.Config{Issuer: a.Issuer, Audience: a.Audience}
	if cfg.Dev {
		signer, err := auth.DevSigner(cfg.Data, cfg.Clock)
		if err != nil {
			return nil, err
		}
		keys = signer.Config()
	} else {
		var err error
		if a.KeysFile != "" {
			if keys.Keys, err = auth.LoadKeys(a.KeysFile); err != nil {
				return nil, fmt.Errorf("auth.keys_file: %w", err)
			}
		}
		keys.JWKS = auth.JWKSConfig{URL: a.JWKSURL, Refresh: time.Duration(a.JWKSRefresh)}
	}
	keys.Cached, keys.Clock, keys.Logger = a.Cache, cfg.Clock, cfg.Logger
	return auth.NewKeyring(keys)
}

// startAuth makes what believes tokens and tickets. Where edge processes hold the
// clients the tokens are their business; only that there are keys is seen to.
func (n *Node) startAuth(ctx context.Context) error {
	n.tickets = auth.NewTickets(n.cfg.Clock)
	keyring, err := n.cfg.Keyring()
	if err != nil || !n.cfg.holdsClients() {
		return err
	}
	n.keyring = keyring
	return n.keyring.Start(ctx)
}
