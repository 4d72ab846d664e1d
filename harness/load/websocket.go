package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The client's half of RFC 6455, as much as a load generator needs: it asks for
// no extension, and the server it tests sends every message in one frame.

// The key of every handshake and what the server must answer to it: the
// example of RFC 6455, 1.3. Its purpose is to keep caches from answering.
const (
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Opcodes (RFC 6455, 5.2).
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// Bounds of what a server may send.
const (
	handshakeBytesMax = 8 << 10
	messageBytesMax   = 16 << 20
)

var errHandshake = errors.New("the server refused the upgrade")

// appendHandshake writes the upgrade request (RFC 6455, 4.1).
func appendHandshake(dst []byte, host, path, subprotocol string) []byte {
	return fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		path, host, handshakeKey, subprotocol)
}

// parseHandshake reads the answer; n 0: it isn't complete yet.
func parseHandshake(b []byte) (n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > handshakeBytesMax {
			return 0, fmt.Errorf("%w: over %d bytes of header", errHandshake, handshakeBytesMax)
		}
		return 0, nil
	}
	head := b[:end]
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		return 0, fmt.Errorf("%w: %.100q", errHandshake, line)
	}
	if !bytes.Contains(head, []byte(": "+handshakeAccept)) {
		return 0, fmt.Errorf("%w: it does not echo the key", errHandshake)
	}
	return end + 4, nil
}

// appendMessage writes payload as one masked frame (RFC 6455, 5.2 and 5.3).
func appendMessage(dst []byte, op byte, mask uint32, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, mask)
	start := len(dst)
	dst = append(dst, payload...)
	maskBytes(mask, dst[start:])
	return dst
}

func maskBytes(mask uint32, b []byte) {
	wide := uint64(mask)<<32 | uint64(mask)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= byte(mask >> (8 * (i & 3)))
	}
}

// parseMessage cuts the first frame from b; n 0: it isn't complete yet. payload
// aliases b.
func parseMessage(b []byte) (op byte, payload []byte, n int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return 0, nil, 0, fmt.Errorf("the server sent a fragment, a reserved bit or a masked frame (%#x %#x)", b[0], b[1])
	}
	header, size := 2, uint64(b[1])
	switch {
	case size == 126:
		if len(b) < 4 {
			return 0, nil, 0, nil
		}
		header, size = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127:
		if len(b) < 10 {
			return 0, nil, 0, nil
		}
		header, size = 10, binary.BigEndian.Uint64(b[2:])
	}
	if size > messageBytesMax {
		return 0, nil, 0, fmt.Errorf("the server sent a message of %d bytes", size)
	}
	if uint64(len(b)-header) < size {
		return 0, nil, 0, nil
	}
	n = header + int(size)
	return b[0] & 0xf, b[header:n], n, nil
}
