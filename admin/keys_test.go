package admin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAKeyOpensWithItsSecretAlone(t *testing.T) {
	key, secret, err := NewKey("ops", []Scope{ScopeRead})
	if err != nil || !strings.HasPrefix(secret, secretPrefix) || strings.Contains(fmt.Sprint(key), secret) {
		t.Fatalf("%+v %v", key, err)
	}
	other, _, _ := NewKey("other", Scopes)
	keys := []Key{other, key}
	if got := find(keys, secret); got == nil || got.ID != "ops" {
		t.Errorf("%+v", got)
	}
	for _, wrong := range []string{"", secret + "x", secret[1:], key.Hash} {
		if got := find(keys, wrong); got != nil {
			t.Errorf("%q opens %s", wrong, got.ID)
		}
	}
}

func TestKeysFilesAreReadStrictly(t *testing.T) {
	key, _, _ := NewKey("ops", []Scope{ScopeRead, ScopeKick})
	good := fmt.Sprintf("{id: ops, hash: %s, scopes: [read, kick]}", key.Hash)
	for content, ok := range map[string]bool{
		"keys: [" + good + "]": true,
		`{"keys": [` + strings.NewReplacer("id:", `"id":`, "hash:", `"hash":`, "scopes:", `"scopes":`, "ops", `"ops"`, key.Hash, `"`+key.Hash+`"`, "[read, kick]", `["read"]`).Replace(good) + `]}`: true,
		"keys: []":                          false,
		"":                                  false,
		"keys: [" + good + "," + good + "]": false,
		"keys: [{id: ops, hash: 00, scopes: [read]}]":                                false,
		"keys: [{id: ops, hash: " + strings.ToUpper(key.Hash) + ", scopes: [read]}]": strings.ToUpper(key.Hash) == key.Hash,
		"keys: [{id: ops, hash: " + key.Hash + ", scopes: []}]":                      false,
		"keys: [{id: ops, hash: " + key.Hash + ", scopes: [everything]}]":            false,
		"keys: [{id: 'a b', hash: " + key.Hash + ", scopes: [read]}]":                false,
		"keys: [{id: ops, hash: " + key.Hash + ", scopes: [read], secret: x}]":       false,
	} {
		path := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := LoadKeys(path)
		if (err == nil) != ok || ok && (len(keys) != 1 || keys[0].Hash != key.Hash) {
			t.Errorf("%s: %v %v", content, keys, err)
		}
	}
}

// TestTheDevelopmentKeyIsMadeOnce and is its owner's.
func TestTheDevelopmentKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dev-admin-key")
	first, secret, err := DevKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, same, err := DevKey(path)
	if err != nil || same != secret || again.Hash != first.Hash {
		t.Errorf("%v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("something"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := DevKey(path); err == nil {
		t.Error("a file without a key is taken for one")
	}
}
