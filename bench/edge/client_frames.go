package main

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/godwit-im/godwit/edge/ws"
)

// messageMinBytes tells messages from a server's heartbeats.
const messageMinBytes = 64

// conn is one connection of the client.
type conn struct {
	fd    int32
	index int32
	stage stage
	// The frame under way: its header while that is incomplete, then the bytes
	// of payload still to come.
	head    [10]byte
	have    uint8
	message bool
	left    uint32
	owed    uint32 // replies, or their bytes, until the next burst
	open    *opening
}

// rawInput counts n bytes of a server without frames.
func (c *client) rawInput(k *conn, n int) {
	before := k.owed
	k.owed -= min(k.owed, uint32(n))
	per := uint32(rawBytes)
	c.echoed.Add(uint64((c.replies-k.owed)/per - (c.replies-before)/per))
	if before > 0 && k.owed == 0 {
		c.answered(k)
	}
}

// frames takes apart what a WebSocket server sent.
func (c *client) frames(k *conn, data []byte) {
	for len(data) > 0 {
		if k.left == 0 {
			var whole bool
			if data, whole = k.header(data); !whole {
				return
			}
			length, op := k.length(), ws.Opcode(k.head[0]&0xf)
			k.have = 0
			if !c.begin(k, op, length) {
				return
			}
			if length == 0 {
				continue
			}
			k.left = uint32(length)
		}
		part := data[:min(len(data), int(k.left))]
		data = data[len(part):]
		k.left -= uint32(len(part))
		if k.left == 0 && k.message {
			c.arrived(k, part)
		}
	}
}

// header collects a frame's header byte by byte.
func (k *conn) header(data []byte) (rest []byte, whole bool) {
	for i, b := range data {
		k.head[k.have] = b
		k.have++
		if k.have >= 2 && k.have == headerBytes(k.head[1]) {
			return data[i+1:], true
		}
	}
	return nil, false
}

// headerBytes is the size of an unmasked header by its second byte.
func headerBytes(second byte) uint8 {
	switch second & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

func (k *conn) length() uint64 {
	switch k.have {
	case 2:
		return uint64(k.head[1] & 0x7f)
	case 4:
		return uint64(binary.BigEndian.Uint16(k.head[2:]))
	}
	return binary.BigEndian.Uint64(k.head[2:])
}

var (
	pong = ws.AppendMasked(nil, true, ws.Pong, maskKey, nil)
	beat = ws.AppendMasked(nil, true, ws.Binary, maskKey, clientPing)
)

// begin looks at a frame's header and answers heartbeats; false: the server
// closes.
func (c *client) begin(k *conn, op ws.Opcode, length uint64) bool {
	k.message = false
	switch op {
	case ws.Close:
		c.fail(errServerCloses)
		return false
	case ws.Ping:
		c.send(k, pong)
	case ws.Pong:
	default:
		k.message = length >= messageMinBytes
		if !k.message && c.kind == kindSession {
			c.send(k, beat)
		}
	}
	return true
}

// arrived takes a message; payload is its end if it came in parts.
func (c *client) arrived(k *conn, payload []byte) {
	switch {
	case c.mode == modeWatch:
		c.watch.arrived(payload)
	case k.owed > 0:
		c.echoed.Add(1)
		if k.owed--; k.owed == 0 {
			c.answered(k)
		}
	}
}

// answered comes when a connection has all its replies.
func (c *client) answered(k *conn) {
	if c.mode == modeEcho {
		k.owed = c.replies
		c.send(k, c.burst)
		return
	}
	c.busy--
}

// stamps finds when a pushed message was due and when it was handed over.
func stamps(payload []byte) (due, handed int64, ok bool) {
	at := bytes.Index(payload, []byte(stampMark))
	if at < 0 || len(payload) < at+len(stampMark)+32 {
		return 0, 0, false
	}
	hex := payload[at+len(stampMark):]
	due, err := strconv.ParseInt(string(hex[:16]), 16, 64)
	if err != nil {
		return 0, 0, false
	}
	handed, err = strconv.ParseInt(string(hex[16:32]), 16, 64)
	return due, handed, err == nil
}
