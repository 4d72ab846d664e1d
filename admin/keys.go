package admin

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/godwit-im/godwit"
)

// Scope is a right of a key.
type Scope string

// The scopes of keys.
const (
	ScopeRead    Scope = "read"    // users, groups, devices, counts
	ScopeHistory Scope = "history" // what users wrote
	ScopeSend    Scope = "send"    // messages in the name of a user
	ScopeGroups  Scope = "groups"  // create and change groups
	ScopeKick    Scope = "kick"    // close sessions, log out devices
	ScopeErase   Scope = "erase"   // erase users, conversations and groups
)

// Scopes are all of them.
var Scopes = []Scope{ScopeRead, ScopeHistory, ScopeSend, ScopeGroups, ScopeKick, ScopeErase}

// Key is one line of a keys file: who holds the secret of which Hash is the
// SHA-256, in hexadecimal digits, may do what Scopes say.
type Key struct {
	ID     string  `yaml:"id" json:"id"`
	Hash   string  `yaml:"hash" json:"hash"`
	Scopes []Scope `yaml:"scopes" json:"scopes"`
}

// secretPrefix begins every secret, so that one that leaked is found by searching.
const secretPrefix = "gwa_"

// NewKey makes a key and the secret that goes with it, which is stored nowhere.
func NewKey(id string, scopes []Scope) (key Key, secret string, err error) {
	var random [24]byte
	if _, err := rand.Read(random[:]); err != nil {
		return key, "", fmt.Errorf("random key: %w", err)
	}
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	key = Key{ID: id, Hash: hashOf(secret), Scopes: scopes}
	return key, secret, key.validate()
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func (k *Key) validate() error {
	if !godwit.ValidID(k.ID) {
		return fmt.Errorf("key id %q: 1 to 64 ASCII letters, digits or -_.@+~=|", k.ID)
	}
	if raw, err := hex.DecodeString(k.Hash); err != nil || len(raw) != sha256.Size || strings.ToLower(k.Hash) != k.Hash {
		return fmt.Errorf("key %s: hash is not a SHA-256 in lower-case hexadecimal", k.ID)
	}
	if len(k.Scopes) == 0 {
		return fmt.Errorf("key %s has no scopes; there are %v", k.ID, Scopes)
	}
	for _, scope := range k.Scopes {
		if !slices.Contains(Scopes, scope) {
			return fmt.Errorf("key %s: there is no scope %q, only %v", k.ID, scope, Scopes)
		}
	}
	return nil
}

// LoadKeys reads a keys file: YAML or JSON, {keys: [{id, hash, scopes}]}.
func LoadKeys(path string) ([]Key, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Keys []Key `yaml:"keys"`
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(file.Keys) == 0 {
		return nil, fmt.Errorf("%s names no keys", path)
	}
	seen := map[string]bool{}
	for i := range file.Keys {
		if err := file.Keys[i].validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if seen[file.Keys[i].ID] {
			return nil, fmt.Errorf("%s: two keys have the id %s", path, file.Keys[i].ID)
		}
		seen[file.Keys[i].ID] = true
	}
	return file.Keys, nil
}

// DevKey reads the development key of a data directory, or makes it: a file that
// only its owner may read, with a secret of all scopes.
func DevKey(path string) (key Key, secret string, err error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if key, secret, err = NewKey("dev", Scopes); err != nil {
			return key, "", err
		}
		return key, secret, os.WriteFile(path, []byte(secret+"\n"), 0o600)
	case err != nil:
		return key, "", err
	}
	if secret = strings.TrimSpace(string(b)); !strings.HasPrefix(secret, secretPrefix) {
		return key, "", fmt.Errorf("%s holds no key; remove it and a new one is made", path)
	}
	return Key{ID: "dev", Hash: hashOf(secret), Scopes: Scopes}, secret, nil
}

// find returns the key of a secret. It looks at all of them, always, so that the
// time it takes tells nothing.
func find(keys []Key, secret string) *Key {
	hash := []byte(hashOf(secret))
	var found *Key
	for i := range keys {
		if subtle.ConstantTimeCompare(hash, []byte(keys[i].Hash)) == 1 {
			found = &keys[i]
		}
	}
	return found
}
