package link

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/godwit-im/godwit"
)

// versions are those of everything on the wire between the two processes that one
// side speaks. A release that changes the wire speaks the version before its own as
// well, so that the processes can be replaced one after another.
type versions struct{ min, max int }

var spoken = versions{3, 3}

func (v versions) String() string {
	if v.min == v.max {
		return fmt.Sprintf("version %d", v.max)
	}
	return fmt.Sprintf("versions %d to %d", v.min, v.max)
}

// agree chooses the newest version that both sides speak; v is the engine process's.
func (v versions) agree(edge versions) (int, error) {
	chosen := min(v.max, edge.max)
	if edge.min <= edge.max && chosen >= max(v.min, edge.min) {
		return chosen, nil
	}
	older := "edge"
	if v.max < edge.min {
		older = "engine"
	}
	return 0, fmt.Errorf("the edge process speaks %s of the link, the engine process %s: the %s process is older, and both need a release that speaks the same; upgrade it", edge, v, older)
}

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
	// Lease is the epoch of the edge's lease in the cluster's directory: of two that
	// have one name, the larger is the younger. 0: there is no lease.
	Lease uint64 `json:"lease,omitempty"`
	// Instance tells a process that attaches again from another one of its name. The
	// client sets it.
	Instance uint64 `json:"instance,omitempty"`
}

// hello is the first message of a stream, from the edge process. Version is for an
// engine process from before there was a choice; it is the largest.
type hello struct {
	Version int `json:"version"`
	Min     int `json:"min,omitempty"`
	Max     int `json:"max,omitempty"`
	About
}

func newHello(v versions, about About) hello { return hello{v.max, v.min, v.max, about} }

// versions that the edge process speaks: one, if it is from before there was a choice.
func (h *hello) versions() versions {
	if h.Max == 0 {
		return versions{h.Version, h.Version}
	}
	return versions{h.Min, h.Max}
}

// welcome is the hub's answer, with the version chosen. Epoch is of this attachment:
// it is in both sides' logs, and no two attachments have the same.
type welcome struct {
	Version  int      `json:"version"`
	Node     string   `json:"node"`
	Index    int      `json:"index"`
	Epoch    uint64   `json:"epoch"`
	Settings Settings `json:"settings"`
}

const aboutBytesMax = 256

// parseHello reads the first message, and chooses the version; nothing else of a
// hello in another version needs to make sense.
func parseHello(b []byte, ours versions) (h hello, chosen int, err error) {
	if err := json.Unmarshal(b, &h); err != nil {
		return h, 0, fmt.Errorf("the first message does not parse: %w", err)
	}
	if chosen, err = ours.agree(h.versions()); err != nil {
		return h, 0, err
	}
	switch {
	case !godwit.ValidID(h.Node):
		return h, 0, errors.New("the edge process has no valid node name")
	case len(h.Ops) > aboutBytesMax:
		return h, 0, errors.New("the edge process's ops address is too long")
	}
	return h, chosen, nil
}

func parseWelcome(b []byte, ours versions) (w welcome, err error) {
	if err := json.Unmarshal(b, &w); err != nil {
		return w, fmt.Errorf("the engine process's answer does not parse: %w", err)
	}
	if w.Version < ours.min || w.Version > ours.max {
		return w, fmt.Errorf("the engine process answers in version %d of the link, this edge process speaks %s", w.Version, ours)
	}
	if w.Index < 1 || w.Index > godwit.SessionEdgeMax {
		return w, fmt.Errorf("the engine process answers with index %d", w.Index)
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
