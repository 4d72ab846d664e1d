package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"time"
)

// What a server must be told to believe the tokens of a Minter.
const (
	TokenKeyID    = "bench"
	TokenIssuer   = "godwit-bench"
	TokenAudience = "godwit-bench"
)

// tokenLife is longer than any run.
const tokenLife = 48 * time.Hour

// Minter signs tokens with HS256 at the moment they are needed: some
// microseconds each, and no memory for the tokens of sessions that are connected.
// One goroutine.
type Minter struct {
	head    []byte // the first part of every token, encoded, with its dot
	expires int64
	mac     hash.Hash
	claims  []byte
	sum     []byte
}

// NewMinter returns a minter of tokens that are valid until then.
func NewMinter(secret []byte, expires time.Time) *Minter {
	head := fmt.Sprintf(`{"alg":"HS256","kid":%q,"typ":"JWT"}`, TokenKeyID)
	m := &Minter{expires: expires.Unix(), mac: hmac.New(sha256.New, secret)}
	m.head = append(base64.RawURLEncoding.AppendEncode(nil, []byte(head)), '.')
	return m
}

// AppendToken writes the user's token. The name must be a valid user's id, which
// needs no escapes.
func (m *Minter) AppendToken(dst, user []byte) []byte {
	m.claims = append(m.claims[:0], `{"iss":"`+TokenIssuer+`","aud":"`+TokenAudience+`","sub":"`...)
	m.claims = append(append(m.claims, user...), `","exp":`...)
	m.claims = append(strconv.AppendInt(m.claims, m.expires, 10), '}')
	start := len(dst)
	dst = append(dst, m.head...)
	dst = base64.RawURLEncoding.AppendEncode(dst, m.claims)
	m.mac.Reset()
	_, _ = m.mac.Write(dst[start:])
	m.sum = m.mac.Sum(m.sum[:0])
	return base64.RawURLEncoding.AppendEncode(append(dst, '.'), m.sum)
}
