package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
)

// Algorithms a key may be pinned to (RFC 7518 §3.1, RFC 8037 §3.1).
const (
	EdDSA = "EdDSA" // Ed25519
	ES256 = "ES256" // ECDSA on P-256 with SHA-256
	RS256 = "RS256" // RSA, PKCS #1 v1.5, with SHA-256
	HS256 = "HS256" // HMAC with SHA-256
)

var algorithms = []string{EdDSA, ES256, RS256, HS256}

// Bounds of keys.
const (
	// keyIDBytesMax bounds a kid.
	keyIDBytesMax = 128
	// secretBytesMin is the shortest HS256 secret: the hash's own size (RFC 7518 §3.2).
	secretBytesMin = 32
	// rsaBitsMin is what RFC 7518 §3.3 asks for; above rsaBitsMax a signature
	// would cost a millisecond.
	rsaBitsMin, rsaBitsMax = 2048, 8192
)

// Key verifies tokens of one key id with one algorithm.
type Key struct {
	ID        string           // the token's kid; may be empty if it is the only key
	Algorithm string           // a token of another algorithm is refused
	Public    crypto.PublicKey // ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey; nil for HS256
	Secret    []byte           // HS256, at least 32 bytes
}

func (key *Key) validate() error {
	if len(key.ID) > keyIDBytesMax {
		return fmt.Errorf("kid is longer than %d bytes", keyIDBytesMax)
	}
	if key.Algorithm == HS256 {
		if len(key.Secret) < secretBytesMin || key.Public != nil {
			return fmt.Errorf("HS256 needs a secret of at least %d bytes", secretBytesMin)
		}
		return nil
	}
	if key.Secret != nil {
		return fmt.Errorf("%s needs a public key, not a secret", key.Algorithm)
	}
	switch key.Algorithm {
	case EdDSA:
		if public, ok := key.Public.(ed25519.PublicKey); !ok || len(public) != ed25519.PublicKeySize {
			return fmt.Errorf("EdDSA needs an Ed25519 public key of %d bytes", ed25519.PublicKeySize)
		}
	case ES256:
		public, ok := key.Public.(*ecdsa.PublicKey)
		if !ok || public == nil || public.Curve != elliptic.P256() {
			return errors.New("ES256 needs an ECDSA public key on P-256")
		}
		if _, err := public.ECDH(); err != nil {
			return errors.New("the ECDSA public key is not a point of P-256")
		}
	case RS256:
		public, ok := key.Public.(*rsa.PublicKey)
		if !ok || public == nil || public.N == nil {
			return errors.New("RS256 needs an RSA public key")
		}
		if bits := public.N.BitLen(); bits < rsaBitsMin || bits > rsaBitsMax || public.N.Bit(0) == 0 {
			return fmt.Errorf("RS256 needs an odd modulus of %d to %d bits; this one has %d bits", rsaBitsMin, rsaBitsMax, bits)
		}
		if public.E < 3 || public.E%2 == 0 || public.E > 1<<31-1 {
			return errors.New("the RSA exponent must be odd and from 3 to 2147483647")
		}
	default:
		return fmt.Errorf("alg is %q; it must be %s", key.Algorithm, strings.Join(algorithms, ", "))
	}
	return nil
}

// material is what the signature is checked with, in the JWT library's types.
func (key *Key) material() any {
	if key.Algorithm == HS256 {
		return key.Secret
	}
	return key.Public
}

// equal reports whether both keys believe the same tokens.
func (key *Key) equal(other *Key) bool {
	if key.ID != other.ID || key.Algorithm != other.Algorithm || !bytes.Equal(key.Secret, other.Secret) {
		return false
	}
	if key.Public == nil {
		return other.Public == nil
	}
	public, ok := key.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(other.Public)
}

// keySet is the keys of one moment, immutable.
type keySet struct {
	keys map[string]Key
	only *Key // set if there is exactly one key: then a token may leave kid out
	// generation differs between any two sets of one keyring that differ.
	generation uint64
}

func newKeySet(keys []Key, generation uint64) *keySet {
	set := &keySet{keys: make(map[string]Key, len(keys)), generation: generation}
	for _, key := range keys {
		set.keys[key.ID] = key
	}
	if len(set.keys) == 1 {
		set.only = &keys[0]
	}
	return set
}

// equal reports whether both sets hold the same keys.
func (s *keySet) equal(other *keySet) bool {
	if len(s.keys) != len(other.keys) {
		return false
	}
	for id, key := range s.keys {
		if twin, ok := other.keys[id]; !ok || !key.equal(&twin) {
			return false
		}
	}
	return true
}
