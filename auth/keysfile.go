package auth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
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
//	    alg: EdDSA
//	    key: MCowBQYDK2VwAyEA…      # 32 bytes or SPKI in base64, or PEM "PUBLIC KEY"
//	  - kid: backend
//	    alg: HS256
//	    key: c2VjcmV0…              # the secret in base64, at least 32 bytes
type keysFile struct {
	Keys []struct {
		ID        string `yaml:"kid"`
		Algorithm string `yaml:"alg"`
		Key       string `yaml:"key"`
	} `yaml:"keys"`
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
		return nil, errors.New("not of the form {keys: [{kid, alg, key}]}") // yaml's error may quote a key
	}
	var keys []Key
	for i, entry := range file.Keys {
		key := Key{ID: entry.ID, Algorithm: entry.Algorithm}
		var err error
		switch entry.Algorithm {
		case EdDSA:
			key.Public, err = parsePublic(entry.Key)
		case HS256:
			key.Secret, err = decodeBase64(entry.Key)
		}
		if err == nil {
			err = key.validate()
		}
		if err != nil {
			return nil, fmt.Errorf("key %d (kid %q): %w", i+1, entry.ID, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// parsePublic accepts an Ed25519 public key as PEM, or as SPKI or its bare 32
// bytes in base64.
func parsePublic(text string) (ed25519.PublicKey, error) {
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
	if ed, ok := public.(ed25519.PublicKey); ok {
		return ed, nil
	}
	return nil, errors.New("the public key is not of type Ed25519")
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
