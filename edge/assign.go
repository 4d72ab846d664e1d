package edge

import (
	"encoding/json"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/godwit-im/godwit"
)

// EdgesPath is where a client asks which edge it should use.
const EdgesPath = "/v1/edges"

// assignSeconds is how long a client may go by an answer.
const assignSeconds = 60

// Assigned is one edge a client may use.
type Assigned struct {
	URL  string `json:"url"`            // of its WebSocket, ws:// or wss://
	Node string `json:"node"`           // its name
	Zone string `json:"zone,omitempty"` // where it stands; empty: not said
}

// Assigner says which edges a user's clients should use, the best first; none: it
// does not know. Called from goroutines of the edge, it answers from memory.
type Assigner interface {
	Assign(user godwit.UserID) []Assigned
}

// edges answers which edges the token's user should use. A server that knows of no
// other names itself, by the address it was asked at.
func (w *webServer) edges(ctx *fasthttp.RequestCtx, job *webJob) {
	if string(ctx.Method()) != "GET" {
		ctx.Response.Header.Set("Allow", "GET")
		w.fail(ctx, 405, "Ask with GET.")
		return
	}
	var list []Assigned
	if assigner := w.edge.cfg.Assigner; assigner != nil {
		list = assigner.Assign(job.who.User)
	}
	if len(list) == 0 {
		list = []Assigned{w.self(ctx, job.secure)}
	}
	body, err := json.Marshal(struct {
		User  godwit.UserID `json:"user"`
		Edges []Assigned    `json:"edges"`
		TTL   int           `json:"ttl"`
	}{job.who.User, list, assignSeconds})
	if err != nil {
		panic("BUG: a list of edges that is not JSON: " + err.Error())
	}
	w.answerOwner(ctx, body)
}

// self is this server as the client reached it. A proxy that took the TLS off says
// so; the answer goes to nobody but the asker, who need not be believed.
func (w *webServer) self(ctx *fasthttp.RequestCtx, secure bool) Assigned {
	if advertised := w.edge.cfg.Advertise; advertised != "" {
		return Assigned{URL: advertised, Node: w.edge.cfg.Node}
	}
	scheme := "ws"
	if secure || strings.EqualFold(string(ctx.Request.Header.Peek("X-Forwarded-Proto")), "https") {
		scheme = "wss"
	}
	return Assigned{URL: scheme + "://" + string(ctx.Request.Host()) + SocketPath, Node: w.edge.cfg.Node}
}

// answerOwner answers with JSON that is for the token's user alone.
func (w *webServer) answerOwner(ctx *fasthttp.RequestCtx, body []byte) {
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if len(ctx.Request.Header.Peek("Origin")) > 0 {
		ctx.Response.Header.Set("Access-Control-Allow-Origin", "*")
	}
	ctx.Response.Header.SetContentType(jsonType)
	ctx.SetBody(body)
}
