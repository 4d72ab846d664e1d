package node

import (
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/godwit-im/godwit/admin"
)

// AdminConfig says who may use the administration API.
type AdminConfig struct {
	KeysFile string `yaml:"keys_file" env:"KEYS_FILE" doc:"YAML or JSON file {keys: [{id, hash, scopes}]}, lines of which godwit admin key new prints. Empty: the API is off; with dev there is a key of all scopes in DATA/dev-admin-key."`
}

// AdminDevKeyFile is the development key of the administration API in the data
// directory.
const AdminDevKeyFile = "dev-admin-key"

// startAdmin makes the operators' API of a process with a store.
func (n *Node) startAdmin() error {
	var keys []admin.Key
	switch {
	case n.cfg.Admin.KeysFile != "":
		var err error
		if keys, err = admin.LoadKeys(n.cfg.Admin.KeysFile); err != nil {
			return fmt.Errorf("admin.keys_file: %w", err)
		}
	case n.cfg.Dev:
		key, _, err := admin.DevKey(filepath.Join(n.cfg.Data, AdminDevKeyFile))
		if err != nil {
			return fmt.Errorf("development key of the administration API: %w", err)
		}
		keys = []admin.Key{key}
	}
	var err error
	if n.erasures, err = openErasures(n.cfg.Data, n.chat, n.forgetLastSeen, n.cfg.Clock); err != nil {
		return err
	}
	server, err := admin.New(admin.Config{
		Chat: n.chat, Eraser: n.erasures, Keys: keys, Stats: n.adminStats, Clock: n.cfg.Clock, Logger: n.logger.With("tier", "admin"),
	})
	if err != nil {
		return err
	}
	n.admin.Store(server)
	return nil
}

// serveAdmin answers once the tiers are up.
func (n *Node) serveAdmin(w http.ResponseWriter, r *http.Request) {
	if server := n.admin.Load(); server != nil && n.tiers.Load() != nil {
		server.ServeHTTP(w, r)
		return
	}
	http.Error(w, "starting", http.StatusServiceUnavailable)
}

// adminStats is what GET stats shows.
func (n *Node) adminStats() any {
	c := n.chat.Stats()
	stats := struct {
		Node     string     `json:"node"`
		Role     string     `json:"role"`
		Sessions int        `json:"sessions"`
		Stored   uint64     `json:"stored"`
		Repeated uint64     `json:"repeated"`
		Refused  uint64     `json:"refused"`
		Reads    uint64     `json:"reads"`
		Outbox   int        `json:"outbox"`
		Edges    []EdgeInfo `json:"edges"`
	}{n.cfg.Node, n.cfg.Role, 0, c.Stored, c.Repeated, c.Refused, c.Reads, c.OutboxItems, n.Edges()}
	for _, e := range stats.Edges {
		stats.Sessions += e.Sessions
	}
	if n.edge != nil {
		stats.Sessions += int(n.edge.Stats().Sessions)
	}
	return stats
}
