package link

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/godwit-im/godwit"
)

// version is of everything on the wire between the two processes. Both come from
// one program on one machine, or are upgraded together: another version is refused.
const version = 2

// secretKey is the metadata that carries the shared secret.
const secretKey = "godwit-link-secret"

// Settings are what every edge process of an engine must agree on; the engine's
// configuration is the truth.
type Settings struct {
	Limits        godwit.Limits `json:"limits"`
	PingMS        int64         `json:"ping_ms"`
	OutboundBytes int           `json:"outbound_bytes"`
	Dev           bool          `json:"dev"`
}

// About is what an edge process says of itself.
type About struct {
	Node string `json:"node"`
	PID  int    `json:"pid"`
	Ops  string `json:"ops"`
	Dev  bool   `json:"dev"`
}

// hello is the first message of a stream, from the edge process.
type hello struct {
	Version int `json:"version"`
	About
}

// welcome is the hub's answer. Epoch is of this attachment: it is in both sides'
// logs, and no two attachments have the same.
type welcome struct {
	Version  int      `json:"version"`
	Node     string   `json:"node"`
	Index    int      `json:"index"`
	Epoch    uint64   `json:"epoch"`
	Settings Settings `json:"settings"`
}

const aboutBytesMax = 256

func parseHello(b []byte) (h hello, err error) {
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("the first message does not parse: %w", err)
	}
	switch {
	case h.Version != version:
		return h, fmt.Errorf("the edge process speaks version %d of the link, the engine process version %d; run the same program on both sides", h.Version, version)
	case !godwit.ValidID(h.Node):
		return h, errors.New("the edge process has no valid node name")
	case len(h.Ops) > aboutBytesMax:
		return h, errors.New("the edge process's ops address is too long")
	}
	return h, nil
}

func parseWelcome(b []byte) (w welcome, err error) {
	if err := json.Unmarshal(b, &w); err != nil {
		return w, fmt.Errorf("the engine process's answer does not parse: %w", err)
	}
	if w.Version != version || w.Index < 1 || w.Index > godwit.SessionEdgeMax {
		return w, fmt.Errorf("the engine process answers with version %d, index %d", w.Version, w.Index)
	}
	return w, nil
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a handshake that JSON can't write: " + err.Error())
	}
	return b
}
