package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// fakeChat answers requests with a reply of the frame's kind and keeps them.
type fakeChat struct {
	calls   []string // "user operator frame"
	refusal error
	block   chan struct{}
	users   []godwit.UserRecord
	kicked  []godwit.UserID
}

func (c *fakeChat) Call(ctx context.Context, user godwit.UserID, f *godwit.ClientFrame, operator bool) (*godwit.ServerFrame, error) {
	if c.block != nil {
		<-c.block
	}
	c.calls = append(c.calls, fmt.Sprintf("%s %v %s", user, operator, f.AppendTo(nil, godwit.EncodingJSON)))
	if c.refusal != nil {
		return nil, c.refusal
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch f.Kind {
	case godwit.KindSend:
		return &godwit.ServerFrame{ID: 1, Kind: f.Kind, Send: godwit.SendReply{State: godwit.StateStored, Seq: 7, Conv: "u:bob"}}, nil
	case godwit.KindRecall:
		return &godwit.ServerFrame{ID: 1, Kind: godwit.KindDone, Done: godwit.Done{Seq: 8}}, nil
	}
	return &godwit.ServerFrame{ID: 1, Kind: f.Kind}, nil
}

func (c *fakeChat) Users(_ context.Context, after godwit.UserID, limit int) (page []godwit.UserRecord, err error) {
	for _, u := range c.users {
		if u.User > after && len(page) < limit {
			page = append(page, u)
		}
	}
	return page, c.refusal
}

func (c *fakeChat) User(_ context.Context, user godwit.UserID) (godwit.UserRecord, bool, error) {
	for _, u := range c.users {
		if u.User == user {
			return u, true, nil
		}
	}
	return godwit.UserRecord{}, false, c.refusal
}

func (c *fakeChat) Groups(context.Context, godwit.GroupID, int) ([]godwit.GroupRecord, error) {
	return []godwit.GroupRecord{{Group: "g1", Members: 3}}, c.refusal
}

func (c *fakeChat) Dissolve(_ context.Context, group godwit.GroupID, by godwit.UserID) error {
	c.calls = append(c.calls, fmt.Sprint("dissolve ", group, " by ", by))
	return c.refusal
}

func (c *fakeChat) SetRetention(_ context.Context, user godwit.UserID, conv godwit.ConversationID, d time.Duration, by string) error {
	c.calls = append(c.calls, fmt.Sprint("keep ", user, " ", conv, " for ", d, " by ", by))
	return c.refusal
}

func (c *fakeChat) Kick(user godwit.UserID, _ godwit.CloseCode, _ string) int {
	c.kicked = append(c.kicked, user)
	return 2
}

type fakeEraser struct{ erased []string }

func (e *fakeEraser) EraseUser(_ context.Context, user godwit.UserID, by string) (any, error) {
	e.erased = append(e.erased, string(user)+" by "+by)
	return map[string]string{"user": string(user)}, nil
}

func (e *fakeEraser) EraseConversation(_ context.Context, user godwit.UserID, conv godwit.ConversationID, by string) (any, error) {
	e.erased = append(e.erased, string(user)+" "+string(conv)+" by "+by)
	return map[string]string{"user": string(user)}, nil
}

// world is a server with a key of each set of scopes.
type world struct {
	t       *testing.T
	chat    *fakeChat
	eraser  *fakeEraser
	server  *Server
	log     bytes.Buffer
	now     time.Time
	secrets map[string]string // by the key's id
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, chat: &fakeChat{}, eraser: &fakeEraser{}, now: time.UnixMilli(1_700_000_000_000), secrets: map[string]string{}}
	var keys []Key
	for id, scopes := range map[string][]Scope{"all": Scopes, "reader": {ScopeRead}, "eraser": {ScopeErase}} {
		key, secret, err := NewKey(id, scopes)
		if err != nil {
			t.Fatal(err)
		}
		keys, w.secrets[id] = append(keys, key), secret
	}
	var err error
	w.server, err = New(Config{
		Chat: w.chat, Keys: keys, Eraser: w.eraser, Clock: func() time.Time { return w.now },
		Stats: func() any { return map[string]int{"sessions": 3} }, Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// ask makes a request with a key and returns the status and the decoded body.
func (w *world) ask(key, method, path, body string, header ...string) (int, map[string]any) {
	w.t.Helper()
	r := httptest.NewRequest(method, Prefix+path, strings.NewReader(body))
	if secret, ok := w.secrets[key]; ok {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	w.server.ServeHTTP(recorder, r)
	var got map[string]any
	if b := recorder.Body.Bytes(); len(b) > 0 {
		if err := json.Unmarshal(b, &got); err != nil {
			w.t.Fatalf("%s %s: %q is no JSON object: %v", method, path, b, err)
		}
	}
	if recorder.Code >= 400 {
		if kind := recorder.Header().Get("Content-Type"); kind != "application/problem+json" || got["status"] != float64(recorder.Code) || got["code"] == "" || got["title"] == "" {
			w.t.Errorf("%s %s: a refusal as %s %v", method, path, kind, got)
		}
	}
	return recorder.Code, got
}

// example fills the parameters of a route's path.
func example(path string) string {
	return strings.NewReplacer("{user}", "alice", "{group}", "g1", "{conv}", "u:bob", "{mid}", "AAAAAAAAAAAAAAAAAAAAAA").Replace(path)
}

// bodies are good bodies of the routes that take one.
var bodies = map[string]string{
	"POST users/{user}/logout":          `{"all":true}`,
	"POST messages":                     `{"to":"bob","text":"hi"}`,
	"POST messages/{mid}/recall":        `{"user":"alice"}`,
	"POST groups":                       `{"owner":"alice","name":"Team","members":["bob"]}`,
	"PATCH groups/{group}":              `{"name":"Crew"}`,
	"POST groups/{group}/members":       `{"users":["carol"]}`,
	"PUT groups/{group}/members/{user}": `{"role":"admin"}`,

	"PUT users/{user}/conversations/{conv}/retention": `{"seconds":86400}`,
	"PUT groups/{group}/retention":                    `{"seconds":86400}`,
}

// TestEveryRouteNeedsItsScope: no key, another's scope, the right one.
func TestEveryRouteNeedsItsScope(t *testing.T) {
	w := newWorld(t)
	w.chat.users = []godwit.UserRecord{{User: "alice"}}
	for _, rt := range w.server.routes() {
		name, path := rt.method+" "+rt.path, example(rt.path)
		if status, got := w.ask("nobody", rt.method, path, bodies[name]); status != 401 || got["code"] != "key.invalid" {
			t.Errorf("%s without a key: %d %v", name, status, got)
		}
		if status, _ := w.ask("nobody", rt.method, path, bodies[name], "Authorization", "Bearer gwa_wrong"); status != 401 {
			t.Errorf("%s with a wrong key: %d", name, status)
		}
		for key, scope := range map[string]Scope{"reader": ScopeRead, "eraser": ScopeErase} {
			before := len(w.chat.calls) + len(w.eraser.erased) + len(w.chat.kicked)
			status, got := w.ask(key, rt.method, path, bodies[name])
			if rt.scope == scope {
				if status >= 400 {
					t.Errorf("%s as %s: %d %v", name, key, status, got)
				}
				continue
			}
			if status != 403 || got["code"] != "key.scope" || len(w.chat.calls)+len(w.eraser.erased)+len(w.chat.kicked) != before {
				t.Errorf("%s as %s: %d %v", name, key, status, got)
			}
		}
		if status, got := w.ask("all", rt.method, path, bodies[name]); status != 200 {
			t.Errorf("%s: %d %v", name, status, got)
		}
	}
}

// TestRetentionIsSetForAConversation: whose, for how long, and by which key.
func TestRetentionIsSetForAConversation(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"users/bob/conversations/u:alice/retention": "keep bob u:alice for 720h0m0s by all",
		"users/bob/conversations/g:g1/retention":    "keep bob g:g1 for 720h0m0s by all",
		"groups/g1/retention":                       "keep system g:g1 for 720h0m0s by all",
	} {
		w.chat.calls = nil
		if status, got := w.ask("all", "PUT", path, `{"seconds":2592000}`); status != 200 || got["seconds"] != 2592000.0 || len(w.chat.calls) != 1 || w.chat.calls[0] != want {
			t.Errorf("%s: %d %v, asked for %q", path, status, got, w.chat.calls)
		}
		if status, _ := w.ask("all", "PUT", path, `{"seconds":0}`); status != 200 || !strings.Contains(w.chat.calls[1], "for 0s") {
			t.Errorf("%s: taking it back: %d, asked for %q", path, status, w.chat.calls)
		}
		w.chat.calls = nil
		for _, body := range []string{`{}`, `{"seconds":-1}`, `{"seconds":3599}`, `{"seconds":3153600001}`, `{"seconds":9223372036854775807}`, `{"seconds":1.5}`, `{"seconds":86400,"by":"x"}`} {
			if status, _ := w.ask("all", "PUT", path, body); status != 400 || len(w.chat.calls) != 0 {
				t.Errorf("%s with %s: %d, asked for %q", path, body, status, w.chat.calls)
			}
		}
	}
	for _, path := range []string{"users/bob/conversations/x:y/retention", "users/b:b/conversations/u:alice/retention"} {
		if status, _ := w.ask("all", "PUT", path, `{"seconds":86400}`); status != 400 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// TestARepeatedChangeIsDoneOnce: the same Idempotency-Key gets the first answer.
func TestARepeatedChangeIsDoneOnce(t *testing.T) {
	w := newWorld(t)
	send := func(body string) (int, map[string]any) {
		return w.ask("all", "POST", "messages", body, "Idempotency-Key", "order 17")
	}
	_, first := send(`{"to":"bob","text":"hi"}`)
	status, second := send(`{"to":"bob","text":"hi"}`)
	if status != 200 || fmt.Sprint(first) != fmt.Sprint(second) || len(w.chat.calls) != 1 {
		t.Errorf("%d %v, then %v; done %d times", status, first, second, len(w.chat.calls))
	}
	if status, got := send(`{"to":"bob","text":"another"}`); status != 422 || got["code"] != "idempotency.conflict" || len(w.chat.calls) != 1 {
		t.Errorf("another request: %d %v", status, got)
	}
	w.now = w.now.Add(answersTime + time.Second)
	if status, _ := send(`{"to":"bob","text":"another"}`); status != 200 || len(w.chat.calls) != 2 {
		t.Errorf("after its time: %d, done %d times", status, len(w.chat.calls))
	}
	w.chat.refusal = godwit.ErrUnavailable
	if status, _ := w.ask("all", "POST", "messages", `{"to":"bob","text":"x"}`, "Idempotency-Key", "k2"); status != 503 {
		t.Errorf("a temporary refusal: %d", status)
	}
	w.chat.refusal = nil
	if status, _ := w.ask("all", "POST", "messages", `{"to":"bob","text":"x"}`, "Idempotency-Key", "k2"); status != 200 {
		t.Errorf("its repetition is not done: %d", status)
	}
}

func TestASecondRequestDoesNotOvertakeTheFirstOfItsKey(t *testing.T) {
	w := newWorld(t)
	w.chat.block = make(chan struct{})
	done := make(chan int)
	go func() {
		r := httptest.NewRequest("POST", Prefix+"messages", strings.NewReader(`{"to":"bob","text":"hi"}`))
		r.Header.Set("Authorization", "Bearer "+w.secrets["all"])
		r.Header.Set("Idempotency-Key", "k")
		recorder := httptest.NewRecorder()
		w.server.ServeHTTP(recorder, r)
		done <- recorder.Code
	}()
	w.chat.block <- struct{}{} // the first is in chat; give it back below
	close(w.chat.block)
	if code := <-done; code != 200 || len(w.chat.calls) != 1 {
		t.Errorf("%d, done %d times", code, len(w.chat.calls))
	}
	first, _, refused := w.server.answers.begin("all\x00new", [32]byte{1})
	if !first || refused != nil {
		t.Fatal("a new key is taken")
	}
	if _, _, refused := w.server.answers.begin("all\x00new", [32]byte{1}); refused == nil || refused.Status != 409 {
		t.Errorf("a request under way: %v", refused)
	}
}

// TestAnswersAreBounded: the oldest is forgotten first.
func TestAnswersAreBounded(t *testing.T) {
	a := newAnswers(time.Now)
	for i := range answersMax + 10 {
		key := fmt.Sprint(i)
		a.begin(key, [32]byte{})
		a.end(key, answer{status: 200})
	}
	if len(a.byKey) != answersMax || a.order.Len() != answersMax {
		t.Errorf("%d answers", len(a.byKey))
	}
	if first, _, _ := a.begin("0", [32]byte{}); !first {
		t.Error("the oldest is remembered")
	}
	if first, _, _ := a.begin(fmt.Sprint(answersMax+9), [32]byte{}); first {
		t.Error("the newest is forgotten")
	}
}

func TestBadRequestsAreRefusedBeforeAnythingIsDone(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "messages", `{`, 400},
		{"POST", "messages", `{"to":"bob","text":"hi","colour":"red"}`, 400},
		{"POST", "messages", `{"to":"bob","text":"hi"} {}`, 400},
		{"POST", "messages", `[]`, 400},
		{"POST", "messages", strings.Repeat(" ", bodyBytesMax+1), 413},
		{"POST", "users/alice/logout", `{}`, 400},
		{"POST", "users/alice/logout", `{"device":"d","all":true}`, 400},
		{"GET", "users/no%20user", "", 400},
		{"GET", "users?limit=0", "", 400},
		{"GET", "users?limit=1001", "", 400},
		{"GET", "users?next=a:b", "", 400},
		{"GET", "users/alice/conversations/u:bob/messages?before=x", "", 400},
		{"GET", "users/alice/conversations/u:bob/messages?after=-1", "", 400},
		{"POST", "groups", `{"owner":"no user"}`, 400},
		{"GET", "nothing", "", 404},
		{"PUT", "users", "", 405},
		{"GET", "users/ghost", "", 404},
		{"DELETE", "users/alice/conversations/x:y", "", 400},
	} {
		if status, got := w.ask("all", c.method, c.path, c.body); status != c.status {
			t.Errorf("%s %s %.60s: %d %v", c.method, c.path, c.body, status, got)
		}
	}
	if len(w.chat.calls)+len(w.eraser.erased) != 0 {
		t.Errorf("done: %v %v", w.chat.calls, w.eraser.erased)
	}
}

// TestRefusalsOfChatKeepTheirCode: what a client would be told, as HTTP says it.
func TestRefusalsOfChatKeepTheirCode(t *testing.T) {
	w := newWorld(t)
	for err, want := range map[error]int{
		godwit.ErrNotMember: 403, godwit.ErrConflict: 409, godwit.ErrUnavailable: 503, godwit.ErrRateLimited: 429, godwit.ErrBadConv: 400,
		context.DeadlineExceeded: 504, io.ErrUnexpectedEOF: 500,
	} {
		w.chat.refusal = err
		if status, got := w.ask("all", "POST", "messages", `{"to":"bob","text":"hi"}`); status != want {
			t.Errorf("%v: %d %v", err, status, got)
		}
	}
}

func TestEveryChangeIsALineInTheLog(t *testing.T) {
	w := newWorld(t)
	w.ask("all", "POST", "users/alice/kick", "")
	w.ask("reader", "GET", "users", "")
	if got := w.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "key=all") || !strings.Contains(got, "/users/alice/kick") || strings.Contains(got, secretPrefix) {
		t.Errorf("log %q", got)
	}
}

// TestMessagesGoOutAsTheyCame: in whose name, with which id, to whom.
func TestMessagesGoOutAsTheyCame(t *testing.T) {
	w := newWorld(t)
	w.ask("all", "POST", "messages", `{"from":"alice","group":"g1","cid":"c7","text":"hi","type":"text/plain"}`)
	w.ask("all", "POST", "messages", `{"to":"bob","data":"AAE="}`, "Idempotency-Key", "once-1")
	if len(w.chat.calls) != 2 ||
		w.chat.calls[0] != `alice true {"send":{"group":"g1","cid":"c7","text":"hi","type":"text/plain"}}` ||
		w.chat.calls[1] != `system true {"send":{"to":"bob","cid":"once-1","data":"AAE="}}` {
		t.Errorf("%q", w.chat.calls)
	}
}

func TestUsersArePagedToTheEnd(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.chat.users = append(w.chat.users, godwit.UserRecord{User: godwit.UserID(fmt.Sprint("u", i))})
	}
	var got []string
	for next := ""; ; {
		_, page := w.ask("all", "GET", "users?limit=3&next="+next, "")
		for _, u := range page["users"].([]any) {
			got = append(got, u.(map[string]any)["user"].(string))
		}
		if next, _ = page["next"].(string); next == "" {
			break
		}
	}
	if fmt.Sprint(got) != "[u0 u1 u2 u3 u4 u5 u6]" {
		t.Errorf("%v", got)
	}
}

func TestWithoutKeysTheAPIIsOffAndSaysHowToTurnItOn(t *testing.T) {
	s, err := New(Config{Chat: &fakeChat{}})
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, Prefix+"users", nil))
	if recorder.Code != 404 || !strings.Contains(recorder.Body.String(), "godwit admin key new") {
		t.Errorf("%d %s", recorder.Code, recorder.Body)
	}
}
