package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"sync/atomic"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/node"
	"github.com/godwit-im/godwit/web"
)

// demoUsers are who the demo knows.
var demoUsers = []godwit.UserID{"alice", "bob", "carol"}

// demoKeyHeader carries the key that /demo.json told the page: another page in
// the same browser does not know it.
const demoKeyHeader = "X-Godwit-Demo"

// demoPage is what the demo serves beside the protocol: the page, what the
// page must know, and the button that restarts the server.
type demoPage struct {
	signer   *auth.Signer
	key      string
	restarts chan struct{}             // holds one request; more at once are one
	where    atomic.Pointer[demoPlace] // set when a node listens
}

// demoPlace is where the node of the moment listens.
type demoPlace struct{ listen, ops string }

func newDemoPage(signer *auth.Signer) *demoPage {
	return &demoPage{signer: signer, key: rand.Text(), restarts: make(chan struct{}, 1)}
}

// serve says which node the page talks to from now on. What was asked of the
// node before is done by this start: a double click restarts once.
func (p *demoPage) serve(n *node.Node) {
	select {
	case <-p.restarts:
	default:
	}
	p.where.Store(&demoPlace{node.Reachable(n.Addr()), node.Reachable(n.OpsAddr())})
}

// run runs the node until it ends or the page asks for a restart.
func (p *demoPage) run(ctx context.Context, n *node.Node) (restart bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	asked := make(chan bool, 1)
	go func() {
		select {
		case <-p.restarts:
			asked <- true
			cancel()
		case <-ended:
		}
		close(asked)
	}()
	err = n.Run(ctx)
	close(ended)
	return <-asked, err
}

// demoInfo is /demo.json.
type demoInfo struct {
	WS      string      `json:"ws"`
	Users   []demoUser  `json:"users"`
	Restart demoRestart `json:"restart"`
}

type demoUser struct {
	User  string `json:"user"`
	Token string `json:"token"`
}

type demoRestart struct {
	URL    string `json:"url"`
	Header string `json:"header"`
	Key    string `json:"key"`
}

// static serves the page, and /demo.json with fresh tokens. The edge refuses a
// Host that is not a loopback name, so no other page can read it.
func (p *demoPage) static(path string) (contentType string, body []byte, ok bool) {
	if path != "/demo.json" {
		return web.Asset(path)
	}
	where := p.where.Load()
	if where == nil {
		return "", nil, false
	}
	info := demoInfo{WS: socketURL(where.listen), Restart: demoRestart{"http://" + where.ops + "/demo/restart", demoKeyHeader, p.key}}
	for _, user := range demoUsers {
		token, err := p.signer.Mint(user, tokenTTL)
		if err != nil {
			return "", nil, false
		}
		info.Users = append(info.Users, demoUser{string(user), token})
	}
	body, err := json.Marshal(info)
	return "application/json", body, err == nil
}

func (p *demoPage) routes() map[string]http.Handler {
	return map[string]http.Handler{"/demo/restart": http.HandlerFunc(p.restart)}
}

// restart answers 202 and has the server restarted soon after. Only the page's
// own origin may call it, and only with the key.
func (p *demoPage) restart(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if !p.ownOrigin(origin) {
		http.Error(w, "not the demo page", http.StatusForbidden)
		return
	}
	if origin != "" {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Vary", "Origin")
	}
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Access-Control-Allow-Methods", http.MethodPost)
		w.Header().Set("Access-Control-Allow-Headers", demoKeyHeader)
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST, OPTIONS")
		http.Error(w, "POST it", http.StatusMethodNotAllowed)
	case subtle.ConstantTimeCompare([]byte(r.Header.Get(demoKeyHeader)), []byte(p.key)) != 1:
		http.Error(w, "the key of /demo.json is missing or of an earlier start", http.StatusForbidden)
	default:
		select {
		case p.restarts <- struct{}{}:
		default: // one is on its way already
		}
		w.WriteHeader(http.StatusAccepted)
	}
}

// ownOrigin accepts the page under either loopback name; a client that is no
// browser sends no origin, and needs the key all the same.
func (p *demoPage) ownOrigin(origin string) bool {
	where := p.where.Load()
	if where == nil {
		return false
	}
	return origin == "" || origin == "http://"+where.listen || origin == "http://localhost:"+port(where.listen)
}
