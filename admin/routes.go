package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/godwit-im/godwit"
)

// routes are all operations, in the order of the document.
func (s *Server) routes() []route {
	return []route{
		{"GET", "stats", ScopeRead, false, (*Server).stats},

		{"GET", "users", ScopeRead, false, (*Server).users},
		{"GET", "users/{user}", ScopeRead, false, (*Server).user},
		{"DELETE", "users/{user}", ScopeErase, true, (*Server).eraseUser},
		{"GET", "users/{user}/devices", ScopeRead, false, (*Server).devices},
		{"POST", "users/{user}/logout", ScopeKick, true, (*Server).logout},
		{"POST", "users/{user}/kick", ScopeKick, true, (*Server).kick},
		{"GET", "users/{user}/groups", ScopeRead, false, (*Server).groupsOf},
		{"GET", "users/{user}/conversations", ScopeHistory, false, (*Server).conversations},
		{"GET", "users/{user}/conversations/{conv}/messages", ScopeHistory, false, (*Server).history},
		{"DELETE", "users/{user}/conversations/{conv}", ScopeErase, true, (*Server).eraseConversation},
		{"PUT", "users/{user}/conversations/{conv}/retention", ScopeErase, true, (*Server).setRetention},

		{"POST", "messages", ScopeSend, true, (*Server).send},
		{"POST", "messages/{mid}/recall", ScopeSend, true, (*Server).recall},

		{"GET", "groups", ScopeRead, false, (*Server).groups},
		{"POST", "groups", ScopeGroups, true, (*Server).createGroup},
		{"GET", "groups/{group}", ScopeRead, false, (*Server).group},
		{"PATCH", "groups/{group}", ScopeGroups, true, (*Server).setGroup},
		{"DELETE", "groups/{group}", ScopeGroups, true, (*Server).dissolveGroup},
		{"GET", "groups/{group}/members", ScopeRead, false, (*Server).members},
		{"POST", "groups/{group}/members", ScopeGroups, true, (*Server).addMembers},
		{"PUT", "groups/{group}/members/{user}", ScopeGroups, true, (*Server).setRole},
		{"DELETE", "groups/{group}/members/{user}", ScopeGroups, true, (*Server).removeMember},
		{"PUT", "groups/{group}/retention", ScopeErase, true, (*Server).setGroupRetention},
		{"GET", "groups/{group}/messages", ScopeHistory, false, (*Server).groupHistory},
	}
}

// by is whom changes of the operator are said to be by.
const by = godwit.UserID("system")

func (r *request) user() (godwit.UserID, error) {
	user, err := godwit.ParseUserID(r.PathValue("user"))
	if err != nil {
		return "", godwit.ErrBadUser
	}
	return user, nil
}

// page returns the limit and cursor of a list: limit 1 to 1000, 100 if not given.
func (r *request) page() (limit int, next string, err error) {
	limit = 100
	if text := r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > 1000 {
			return 0, "", invalid("limit is a number from 1 to 1000.")
		}
	}
	return limit, r.URL.Query().Get("next"), nil
}

// sequence is an optional number of the query.
func (r *request) sequence(name string) (seq godwit.Seq, given bool, err error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, false, nil
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil || godwit.Seq(v) > godwit.SeqMax {
		return 0, false, invalid(name + " is a sequence.")
	}
	return godwit.Seq(v), true, nil
}

// body returns a reply's body as the client protocol says it in JSON: what a
// client sees and what an operator sees are one description.
func body(f *godwit.ServerFrame) (any, error) {
	f.ID = 0
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(f.AppendTo(nil, godwit.EncodingJSON), &fields); err != nil || len(fields) != 1 {
		return nil, fmt.Errorf("reply of kind %d: %d bodies, %w", f.Kind, len(fields), err)
	}
	for _, v := range fields {
		return v, nil
	}
	return nil, nil
}

// ask makes a request and returns its reply's body.
func (s *Server) ask(ctx context.Context, user godwit.UserID, f *godwit.ClientFrame, operator bool) (any, error) {
	reply, err := s.cfg.Chat.Call(ctx, user, f, operator)
	if err != nil {
		return nil, err
	}
	return body(reply)
}

func (s *Server) stats(*request) (any, error) {
	if s.cfg.Stats == nil {
		return struct{}{}, nil
	}
	return s.cfg.Stats(), nil
}

// notFound: the operator may be told so.
func notFound(what string) error {
	return refuse(http.StatusNotFound, what+".not_found", "There is no such "+what+".")
}
