package auth

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keysFileBytesMax bounds a keys file: thousands of keys fit.
const keysFileBytesMax = 1 << 20

// keysFile is the file format, in YAML or (its subset) JSON:
//
//	keys:
//	  - kid: main
//	    alg: EdDSA                  # or ES256, RS256
//	    key: MCowBQYDK2VwAyEA…      # SPKI in base64 or PEM "PUBLIC KEY"; EdDSA: or the bare 32 bytes
//	  - kid: backend
//	    alg: HS256
//	    key: c2VjcmV0…              # the secret in base64, at least 32 bytes
//	  - {kid: web, kty: EC, crv: P-256, x: f83OJ3D2…, y: x_FEzRu9…} # a JWK; kty tells it apart
//
// So a JWK Set is a keys file, too.
type keysFile struct {
	Keys []keysEntry `yaml:"keys"`
}

// keysEntry is one key in either form.
type keysEntry struct {
	ID        string `yaml:"kid"`
	Algorithm string `yaml:"alg"`
	Key       string `yaml:"key"`
	jwk       []byte // JSON; nil in the other form
}

// UnmarshalYAML tells the two forms apart. Its errors never reach the user.
func (e *keysEntry) UnmarshalYAML(node *yaml.Node) error {
	var fields map[string]yaml.Node
	if err := node.Decode(&fields); err != nil {
		return err
	}
	if _, isJWK := fields["kty"]; !isJWK {
		for name := range fields {
			if name != "kid" && name != "alg" && name != "key" {
				return errors.New("unknown field") // KnownFields does not reach below an Unmarshaler
			}
		}
		type plain keysEntry
		return node.Decode((*plain)(e))
	}
	members := map[string]any{}
	for name, field := range fields {
		if field.Kind == yaml.ScalarNode {
			members[name] = field.Value // a kid of digits is text all the same
			continue
		}
		var value any
		if err := field.Decode(&value); err != nil {
			return err
		}
		members[name] = value
	}
	var err error
	e.jwk, err = json.Marshal(members)
	e.ID, _ = members["kid"].(string)
	return err
}

// LoadKeys reads a keys file. Errors never quote a key.
func LoadKeys(path string) ([]Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read keys file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, keysFileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read keys file: %w", err)
	}
	if len(data) > keysFileBytesMax {
		return nil, fmt.Errorf("read keys file %s: larger than %d bytes", path, keysFileBytesMax)
	}
	keys, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("read keys file %s: %w", path, err)
	}
	return keys, nil
}

func parseKeys(data []byte) ([]Key, error) {
	var file keysFile
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return nil, errors.New("not of the form {keys: [{kid, alg, key}]}, nor a JWK Set") // yaml's error may quote a key
	}
	var keys []Key
	for i := range file.Keys {
		entry := &file.Keys[i]
		key, err := entry.parse()
		if err != nil {
			return nil, fmt.Errorf("key %d (kid %q): %w", i+1, entry.ID, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (e *keysEntry) parse() (key Key, err error) {
	if e.jwk != nil {
		return parseJWK(e.jwk)
	}
	key = Key{ID: e.ID, Algorithm: e.Algorithm}
	switch e.Algorithm {
	case EdDSA, ES256, RS256:
		key.Public, err = parsePublic(e.Key)
	case HS256:
		key.Secret, err = decodeBase64(e.Key)
	}
	if err == nil {
		err = key.validate()
	}
	return key, err
}

// parsePublic accepts a public key as PEM or as SPKI in base64, and an Ed25519
// key also as its bare 32 bytes. Whether it fits its algorithm is not its
// business.
func parsePublic(text string) (crypto.PublicKey, error) {
	var der []byte
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("the PEM block is a %q; give the PUBLIC KEY", block.Type)
		}
		der = block.Bytes
	} else {
		var err error
		if der, err = decodeBase64(text); err != nil {
			return nil, err
		}
		if len(der) == ed25519.PublicKeySize {
			return ed25519.PublicKey(der), nil
		}
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("key is neither 32 bytes nor a public key in SPKI form")
	}
	return public, nil
}

// decodeBase64 accepts both alphabets, with or without padding.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	text = strings.NewReplacer("+", "-", "/", "_").Replace(text)
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("key is not base64")
	}
	return data, nil
}
