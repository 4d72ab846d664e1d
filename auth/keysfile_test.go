package auth

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLoadKeys(t *testing.T) {
	f := func(content, wantErr string) []Key {
		t.Helper()
		path := filepath.Join(t.TempDir(), "keys.yaml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := LoadKeys(path)
		switch {
		case wantErr == "" && err != nil:
			t.Error(err)
		case wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)):
			t.Errorf("got %v, want an error about %q", err, wantErr)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error quotes the key: %v", err)
		}
		return keys
	}
	const bare = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
	keys := f("keys:\n- {kid: a, alg: EdDSA, key: "+bare+"}\n- {kid: b, alg: HS256, key: YSBzZWNyZXQgd2l0aCBhdCBsZWFzdCB0aGlydHktdHdvIGJ5dGVz}\n", "")
	if len(keys) != 2 || keys[0].ID != "a" || len(keys[0].Public.(ed25519.PublicKey)) != 32 || string(keys[1].Secret) != "a secret with at least thirty-two bytes" {
		t.Errorf("keys are %v", keys)
	}
	if keys := f(`{"keys":[{"kid":"a","alg":"EdDSA","key":"MCowBQYDK2VwAyEAA6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}]}`, ""); len(keys) != 1 || len(keys[0].Public.(ed25519.PublicKey)) != 32 {
		t.Errorf("SPKI in JSON: %v", keys)
	}
	f("keys:\n- kid: a\n  alg: EdDSA\n  key: |\n    -----BEGIN PUBLIC KEY-----\n    MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n    -----END PUBLIC KEY-----\n", "")
	f("keys:\n- kid: a\n  alg: EdDSA\n  key: |\n    -----BEGIN PRIVATE KEY-----\n    hiddenhidden\n    -----END PRIVATE KEY-----\n", "give the PUBLIC KEY")
	f("keys: [{kid: a, alg: EdDSA, key: 'hidden!'}]", "not base64")
	f("keys: [{kid: a, alg: EdDSA, key: aGlkZGVu}]", "neither 32 bytes")
	f("keys: [{kid: a, alg: HS256, key: aGlkZGVu}]", "at least 32 bytes")
	f("keys: [{kid: a, alg: RS256, key: aGlkZGVu}]", "neither 32 bytes")
	f("keys: [{kid: a, alg: HS256, secret: hidden}]", "not of the form")
	f("hidden", "not of the form")
	f("keys: [{kid: a, alg: HS256, key: "+strings.Repeat("A", keysFileBytesMax)+"}]", "larger than")

	ec, rs := jwkOf(ecdsaKey), jwkOf(rsaKey)
	keys = f("keys: ["+ec+", "+rs+", {kid: 7, alg: ES256, key: "+spki(ecdsaKey)+"}, {kid: 8, alg: RS256, key: "+spki(rsaKey)+"}]", "")
	want := []Key{ecdsaKey, rsaKey, {ID: "7", Algorithm: ES256, Public: ecdsaKey.Public}, {ID: "8", Algorithm: RS256, Public: rsaKey.Public}}
	if !slices.EqualFunc(keys, want, func(a, b Key) bool { return a.equal(&b) }) {
		t.Errorf("keys are %v, want %v", keys, want)
	}
	if keys := f("keys:\n- kid: 0x10\n  kty: OKP\n  crv: Ed25519\n  key_ops: [verify]\n  x: A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg\n", ""); len(keys) != 1 || keys[0].ID != "0x10" {
		t.Errorf("a JWK in YAML: %v", keys)
	}
	f("keys: [{kid: a, alg: ES256, key: "+spki(rsaKey)+"}]", "ES256 needs an ECDSA public key")
	f("keys: [{kid: a, alg: RS256, key: "+spki(ecdsaKey)+"}]", "RS256 needs an RSA public key")
	f("keys: [{kid: a, alg: RS256, key: "+bare+"}]", "RS256 needs an RSA public key")
	f("keys: [{kid: a, alg: EdDSA, key: "+spki(ecdsaKey)+"}]", "EdDSA needs an Ed25519 public key")
	f("keys: [{kid: a, kty: oct, alg: HS256, k: hidden}]", "private member")
	f("keys: ["+with(ec, `"d":"hidden"`)+"]", "private member")
	f("keys: ["+with(ec, `"use":"enc"`)+"]", "not one for signatures")
	f("keys: [{kid: a, kty: EC, crv: P-256, x: [hidden], y: {1: hidden}}]", "not of the form")
	f("keys: [{kid: a, kty: EC, crv: P-256, x: [hidden], y: hidden}]", "x is not a string")
}

func spki(key Key) string {
	return base64.StdEncoding.EncodeToString(must(x509.MarshalPKIXPublicKey(key.Public)))
}

func FuzzKeysFile(f *testing.F) {
	f.Add([]byte("keys:\n- {kid: a, alg: HS256, key: YSBzZWNyZXQgd2l0aCBhdCBsZWFzdCB0aGlydHktdHdvIGJ5dGVz}\n"))
	f.Add([]byte("keys: [{kid: a, alg: ES256, key: " + spki(ecdsaKey) + "}]"))
	f.Add([]byte("keys: [" + jwkOf(ecdsaKey) + ", " + jwkOf(rsaKey) + "]"))
	f.Add([]byte("keys: [&a {kty: *a, x: {<<: *a}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseKeys(data)
		if err != nil && keys != nil {
			t.Fatalf("%v, and keys", err)
		}
		for i := range keys {
			if err := keys[i].validate(); err != nil {
				t.Fatalf("a key that can't be used: %v", err)
			}
		}
	})
}
