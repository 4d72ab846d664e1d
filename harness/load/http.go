package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// The client's half of a long-poll, as much as a load generator needs: requests
// one after another on one connection, answers with a length.

const pollPath = "/v1/poll"

// pollBodyMax is what a server puts into one answer, and room for one more entry.
const pollBodyMax = 1 << 20

var errPoll = errors.New("the server refused the poll")

// appendPoll writes a request. Without a cursor it is answered at once, with one it
// may be held for wait seconds.
func appendPoll(dst []byte, host, device, cursor string, wait int, token []byte) []byte {
	dst = append(append(dst, "GET "+pollPath+"?device="...), device...)
	if cursor != "" {
		dst = append(append(dst, "&c="...), cursor...)
		dst = strconv.AppendInt(append(dst, "&wait="...), int64(wait), 10)
	}
	dst = append(append(dst, " HTTP/1.1\r\nHost: "...), host...)
	dst = append(append(dst, "\r\nAuthorization: Bearer "...), token...)
	return append(dst, "\r\nAccept: application/x-protobuf\r\n\r\n"...)
}

// parsePoll reads an answer; n 0: it isn't complete yet. body aliases b.
func parsePoll(b []byte) (body []byte, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > handshakeBytesMax {
			return nil, 0, fmt.Errorf("%w: over %d bytes of header", errPoll, handshakeBytesMax)
		}
		return nil, 0, nil
	}
	status, fields, _ := bytes.Cut(b[:end], []byte("\r\n"))
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return nil, 0, fmt.Errorf("%w: %.100q", errPoll, status)
	}
	length := -1
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, _ := bytes.Cut(field, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(bytes.TrimSpace(value), []byte("close")):
			return nil, 0, fmt.Errorf("%w: it ends the connection after a good answer", errPoll)
		case bytes.EqualFold(name, []byte("Content-Length")):
			size, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 32)
			if err != nil || size > pollBodyMax || length >= 0 {
				return nil, 0, fmt.Errorf("%w: its length is %.50q", errPoll, value)
			}
			length = int(size)
		}
	}
	if length < 0 {
		return nil, 0, fmt.Errorf("%w: it says no length", errPoll)
	}
	if start := end + len("\r\n\r\n"); len(b)-start >= length {
		return b[start : start+length], start + length, nil
	}
	return nil, 0, nil
}
