package http1

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
)

// Handshake is what Upgrade agreed on.
type Handshake struct {
	Accept      [28]byte // the value of Sec-WebSocket-Accept
	Subprotocol string   // one of the supported ones; "": none in common
	Offered     bool     // the client offered subprotocols
	Deflate     Deflate  // an acceptable offer of the client
}

const (
	keyBytes    = 16
	keyLen      = 24 // in base64
	webSocketID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// Upgrade checks that r asks for a WebSocket and chooses the first of the
// client's subprotocols that is supported (RFC 6455 section 4.2.1). A client
// that offered only unknown ones is not refused here. Any error is an *Error.
// Origin and authorisation are the caller's to check.
func Upgrade(r *Request, supported []string) (h Handshake, err error) {
	switch {
	case string(r.Method) != "GET":
		return h, ErrMethodNotGet
	case r.Minor < 1:
		return h, ErrUpgradeVersion
	case r.HasBody():
		return h, ErrUpgradeBody
	case !r.HasToken("Upgrade", "websocket"):
		return h, ErrUpgradeMissing
	case !r.HasToken("Connection", "upgrade"):
		return h, ErrConnection
	case r.Count("Sec-WebSocket-Version") != 1 || string(r.Get("Sec-WebSocket-Version")) != "13":
		return h, ErrWebSocketVersion
	}
	key := r.Get("Sec-WebSocket-Key")
	if r.Count("Sec-WebSocket-Key") != 1 || !isKey(key) {
		return h, ErrWebSocketKey
	}
	if h.Subprotocol, h.Offered, err = chooseSubprotocol(r, supported); err != nil {
		return h, err
	}
	if h.Deflate, err = chooseDeflate(r); err != nil {
		return h, err
	}
	h.Accept = acceptKey(key)
	return h, nil
}

func isKey(key []byte) bool {
	if len(key) != keyLen {
		return false
	}
	var decoded [keyLen / 4 * 3]byte
	n, err := base64.StdEncoding.Decode(decoded[:], key)
	return err == nil && n == keyBytes
}

// acceptKey proves that the handshake was read; key has keyLen bytes (RFC 6455
// section 4.2.2, item 5.4).
func acceptKey(key []byte) (accept [28]byte) {
	var joined [keyLen + len(webSocketID)]byte
	copy(joined[copy(joined[:], key):], webSocketID)
	sum := sha1.Sum(joined[:])
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}

// chooseSubprotocol goes through the client's list, which may be spread over
// several fields, in its order of preference (RFC 6455 section 4.1, item 10).
// Names are compared with case. The result is one of supported, so it outlives
// the window.
func chooseSubprotocol(r *Request, supported []string) (chosen string, offered bool, err error) {
	for _, field := range r.Headers() {
		if !equalFold(field.Name, "Sec-WebSocket-Protocol") {
			continue
		}
		offered = true
		for rest, more := field.Value, true; more; {
			var name []byte
			name, rest, more = bytes.Cut(rest, comma)
			name = trimSpace(name)
			if len(name) == 0 || !all(name, inToken) {
				return "", offered, ErrSubprotocol
			}
			for _, s := range supported {
				if chosen == "" && string(name) == s {
					chosen = s
				}
			}
		}
	}
	return chosen, offered, nil
}
