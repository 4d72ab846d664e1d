package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// jwksKeysMax bounds the keys of one set: an issuer has a handful.
const jwksKeysMax = 256

var (
	// errKeyOther marks a key that is in order and not for us: for encryption,
	// or of another algorithm. A set may hold such keys; they are passed over.
	errKeyOther = errors.New("the key is not one for signatures of " + strings.Join(algorithms[:3], ", "))
	// errKeyPrivate marks a key that whoever reads the set could sign with.
	errKeyPrivate = errors.New("the key has a private member; whoever reads it can sign tokens")
)

// privateMembers are those of RFC 7518 §6 that must not be published, and of
// the key types that came after it.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}

// parseJWKS reads a JWK Set (RFC 7517 §5). Keys that are not for us are passed
// over; those that can't be believed are left out with a note each. A set
// without any key that could have been for us is an error.
func parseJWKS(data []byte) (keys []Key, notes []string, err error) {
	var set map[string]json.RawMessage
	var list []json.RawMessage
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, nil, errors.New("not a JSON object")
	}
	if err := json.Unmarshal(set["keys"], &list); err != nil {
		return nil, nil, errors.New("no list of keys in it")
	}
	if len(list) > jwksKeysMax {
		return nil, nil, fmt.Errorf("%d keys; at most %d are taken", len(list), jwksKeysMax)
	}
	seen := map[string]bool{}
	private := false
	for i, raw := range list {
		key, err := parseJWK(raw)
		private = private || errors.Is(err, errKeyPrivate)
		switch {
		case errors.Is(err, errKeyOther):
		case err != nil:
			notes = append(notes, fmt.Sprintf("key %d (kid %q): %v", i+1, key.ID, err))
		case seen[key.ID]:
			notes = append(notes, fmt.Sprintf("key %d: an earlier key has the kid %q, too", i+1, key.ID))
		default:
			seen[key.ID] = true
			keys = append(keys, key)
		}
	}
	if len(keys) > 1 && seen[""] {
		keys = slices.DeleteFunc(keys, func(key Key) bool { return key.ID == "" })
		notes = append(notes, "a key without kid; with several keys each needs one")
	}
	// A set emptied by refusing published private keys counts: they must stop
	// to be believed. One that has nothing to offer is a mistake of the issuer.
	if len(keys) == 0 && !private {
		return nil, notes, errors.New("no key in it can be used")
	}
	return keys, notes, nil
}

// parseJWK reads a public key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). With an
// error the key has its kid at most.
func parseJWK(data []byte) (Key, error) {
	var m members
	if err := json.Unmarshal(data, &m); err != nil || m == nil {
		return Key{}, errors.New("not a JSON object")
	}
	id, err := m.text("kid")
	if err != nil {
		return Key{}, err
	}
	key := Key{ID: id}
	if len(id) > keyIDBytesMax {
		return Key{ID: id[:keyIDBytesMax]}, fmt.Errorf("kid is longer than %d bytes", keyIDBytesMax)
	}
	for _, name := range privateMembers {
		if _, has := m[name]; has {
			return key, errKeyPrivate
		}
	}
	if err := m.forSignatures(); err != nil {
		return key, err
	}
	whole := key
	if whole.Algorithm, err = m.algorithm(); err != nil {
		return key, err
	}
	switch whole.Algorithm {
	case EdDSA:
		whole.Public, err = m.ed25519()
	case ES256:
		whole.Public, err = m.ecdsa()
	case RS256:
		whole.Public, err = m.rsa()
	}
	if err == nil {
		err = whole.validate()
	}
	if err != nil {
		return key, err
	}
	return whole, nil
}

// members are those of one JWK. encoding/json would take "KTY" for "kty" in a
// struct; names of a map are exact.
type members map[string]json.RawMessage

// text returns a member that is a string, "" if there is none.
func (m members) text(name string) (s string, err error) {
	if raw, has := m[name]; has {
		if err := json.Unmarshal(raw, &s); err != nil || string(raw) == "null" {
			return "", fmt.Errorf("%s is not a string", name)
		}
	}
	return s, nil
}

// forSignatures refuses keys that say they are for something else.
func (m members) forSignatures() error {
	use, err := m.text("use")
	if err != nil {
		return err
	}
	if _, has := m["use"]; has && use != "sig" {
		return errKeyOther
	}
	if raw, has := m["key_ops"]; has {
		var operations []string
		if err := json.Unmarshal(raw, &operations); err != nil {
			return errors.New("key_ops is not a list of strings")
		}
		if !slices.Contains(operations, "verify") {
			return errKeyOther
		}
	}
	return nil
}

// algorithm is the one the type of the key allows; alg may only confirm it.
func (m members) algorithm() (string, error) {
	kty, err := m.text("kty")
	if err != nil {
		return "", err
	}
	crv, err := m.text("crv")
	if err != nil {
		return "", err
	}
	alg, err := m.text("alg")
	if err != nil {
		return "", err
	}
	of := ""
	switch {
	case kty == "OKP" && crv == "Ed25519":
		of = EdDSA
	case kty == "EC" && crv == "P-256":
		of = ES256
	case kty == "RSA":
		of = RS256
	}
	if _, has := m["alg"]; of == "" || has && alg != of {
		return "", errKeyOther
	}
	return of, nil
}

// data returns a member in base64url as RFC 7515 §2 has it: no padding, no line
// breaks, no spare bits.
func (m members) data(name string) ([]byte, error) {
	text, err := m.text(name)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return nil, fmt.Errorf("%s is missing", name)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%s is not base64url", name)
	}
	return data, nil
}

func (m members) ed25519() (any, error) {
	x, err := m.data("x")
	if err != nil {
		return nil, err
	}
	return ed25519.PublicKey(x), nil
}

func (m members) ecdsa() (any, error) {
	x, err := m.data("x")
	if err != nil {
		return nil, err
	}
	y, err := m.data("y")
	if err != nil {
		return nil, err
	}
	if len(x) != 32 || len(y) != 32 { // RFC 7518 §6.2.1.2: the full size, always
		return nil, errors.New("x and y must have 32 bytes each")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("x and y are not a point of P-256")
	}
	return public, nil
}

func (m members) rsa() (any, error) {
	n, err := m.data("n")
	if err != nil {
		return nil, err
	}
	e, err := m.data("e")
	if err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 {
		return nil, errors.New("e is larger than 2147483647")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
}
