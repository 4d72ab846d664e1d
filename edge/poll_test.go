package edge

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// web is one HTTP connection of a test.
type web struct {
	t    testing.TB
	conn io.ReadWriter
	r    *bufio.Reader
}

func newWeb(t testing.TB, e *Edge) *web {
	conn := dialRaw(t, e)
	return &web{t, conn, bufio.NewReader(conn)}
}

func (w *web) write(request string) {
	w.t.Helper()
	if _, err := io.WriteString(w.conn, request); err != nil {
		w.t.Fatal(err)
	}
}

// poll asks; read takes the answer.
func (w *web) poll(user, query string, extra ...string) {
	w.t.Helper()
	w.write("GET /v1/poll?" + query + " HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer user:" + user + "\r\n" + strings.Join(extra, "") + "\r\n")
}

func (w *web) call(user, body string, extra ...string) {
	w.t.Helper()
	w.write(fmt.Sprintf("POST /v1/rpc?device=d HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer user:%s\r\nContent-Length: %d\r\n%s\r\n%s", user, len(body), strings.Join(extra, ""), body))
}

func (w *web) read() (*http.Response, string) {
	w.t.Helper()
	r, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, string(body)
}

// want reads an answer and checks its status and that it holds the parts.
func (w *web) want(status int, parts ...string) string {
	w.t.Helper()
	r, body := w.read()
	if r.StatusCode != status {
		w.t.Fatalf("status %d, want %d: %s", r.StatusCode, status, body)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			w.t.Fatalf("%s\nlacks %s", body, part)
		}
	}
	return body
}

func event(seq godwit.Seq) godwit.Entry {
	return godwit.Entry{Seq: seq, Msg: godwit.Message{Conv: []byte("u:bob"), From: []byte("bob"), Body: fmt.Append(nil, "m", seq), Text: true}}
}

// heldChat opens polls at head and tells of each session.
func heldChat(head *godwit.Seq) (*fakeChat, chan godwit.SessionID) {
	opened := make(chan godwit.SessionID, 64)
	f := &fakeChat{}
	f.onConnect = func(s godwit.SessionID, h Hello) {
		w := godwit.Welcome{Epoch: "e1", Head: *head, Start: *head}
		switch {
		case !h.Resume:
		case h.Epoch != "e1":
			w.Reason = "epoch"
		default:
			w.Resumed, w.Start = true, h.ResumeSeq
		}
		f.edge.Connected(s, w)
		opened <- s
	}
	return f, opened
}

func TestPollWithoutCursorAnswersAtOnceWithTheHead(t *testing.T) {
	head := godwit.Seq(41)
	chat, _ := heldChat(&head)
	w := newWeb(t, newEdge(t, chat, nil))
	w.poll("alice", "device=d1")
	w.want(200, `{"connect":{`, `"epoch":"e1"`, `"seq":41`, `"rpc":50`, "\n"+`{"poll":{"cursor":"e1.15"}}`)
}

func TestPollIsHeldUntilAnEntryComes(t *testing.T) {
	head := godwit.Seq(41)
	chat, opened := heldChat(&head)
	e := newEdge(t, chat, nil)
	w := newWeb(t, e)
	for round := range 3 { // on one connection
		w.poll("alice", fmt.Sprintf("device=d1&c=e1.%s&wait=30", string(appendCursor(nil, &pollPlace{epoch: "e1", seq: head})[3:])))
		s := <-opened
		entry := event(head + 1)
		head++
		e.Deliver([]godwit.SessionID{s}, &entry)
		body := w.want(200, fmt.Sprintf(`{"ev":{"seq":%d,`, head), fmt.Sprintf(`"text":"m%d"`, head), `{"poll":{"cursor":"`)
		if strings.Count(body, "\n") != 2 {
			t.Fatalf("round %d: %s", round, body)
		}
		if got := <-chat.disconnect; got != s {
			t.Fatalf("disconnected %d, not %d", got, s)
		}
	}
}

func TestPollCatchesUpAndIsBoundedByFrames(t *testing.T) {
	head := godwit.Seq(250)
	chat, _ := heldChat(&head)
	chat.onFetch = func(s godwit.SessionID, after godwit.Seq, limit, _ int) {
		var entries []godwit.Entry
		for seq := after + 1; seq <= head && len(entries) < limit; seq++ {
			entries = append(entries, event(seq))
		}
		chat.edge.Fetched(s, entries, head, nil)
	}
	w := newWeb(t, newEdge(t, chat, func(c *Config) { c.Limits.Page = 30 }))
	cursor := "e1.0"
	for _, want := range []struct {
		frames int
		cursor string
	}{{100, "e1.2s"}, {100, "e1.5k"}, {50, "e1.6y"}, {0, "e1.6y"}} {
		w.poll("alice", "device=d1&wait=0&c="+cursor)
		body := w.want(200, `{"poll":{"cursor":"`+want.cursor+`"}}`)
		if n := strings.Count(body, `{"ev":`); n != want.frames {
			t.Fatalf("%d events from %s, want %d", n, cursor, want.frames)
		}
		cursor = want.cursor
	}
}

func TestPollInProtobufHasPrefixedFrames(t *testing.T) {
	head := godwit.Seq(5)
	chat, opened := heldChat(&head)
	e := newEdge(t, chat, nil)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&epoch=e1&seq=5", "Accept: application/x-protobuf\r\n")
	entry := event(6)
	e.Deliver([]godwit.SessionID{<-opened}, &entry)
	_, body := w.read()
	var kinds []godwit.FrameKind
	for rest := []byte(body); len(rest) > 0; {
		frame, more, err := godwit.NextFrame(godwit.EncodingProto, rest)
		if err != nil {
			t.Fatal(err)
		}
		var f godwit.ServerFrame
		if err := f.Parse(godwit.EncodingProto, frame); err != nil {
			t.Fatal(err)
		}
		kinds, rest = append(kinds, f.Kind), more
	}
	if fmt.Sprint(kinds) != fmt.Sprint([]godwit.FrameKind{godwit.KindEvent, godwit.KindPoll}) {
		t.Fatalf("kinds %v", kinds)
	}
}

func TestPollEndsEmptyWhenSupersededOrOverdue(t *testing.T) {
	head := godwit.Seq(5)
	chat, opened := heldChat(&head)
	var now clock
	e := newEdge(t, chat, now.set)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&c=e1.5&wait=60")
	e.Close(<-opened, godwit.CloseReplaced, "replaced")
	if body := w.want(200); body != `{"poll":{"cursor":"e1.5"}}`+"\n" {
		t.Fatal(body)
	}
	w.poll("alice", "device=d1&c=e1.5&wait=1")
	waitFor(t, func() bool { return e.Stats().Polls == 1 })
	now.pass(time.Second)
	if body := w.want(200); body != `{"poll":{"cursor":"e1.5"}}`+"\n" {
		t.Fatal(body)
	}
}

func TestPollIsToldToMoveAtADrain(t *testing.T) {
	head := godwit.Seq(5)
	chat, opened := heldChat(&head)
	e := newEdge(t, chat, nil)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&c=e1.5&wait=60")
	<-opened
	var drain sync.WaitGroup
	drain.Go(func() { e.Drain(t.Context(), 0, 0) })
	w.want(200, `{"goaway":{"reason":"drain"`, "\n"+`{"poll":{"cursor":"e1.5"}}`)
	_ = w.conn.(io.Closer).Close()
	drain.Wait()
}

func TestPollRefusals(t *testing.T) {
	head := godwit.Seq(5)
	chat, _ := heldChat(&head)
	e := newEdge(t, chat, nil)
	f := func(query string, status int, part string) {
		t.Helper()
		w := newWeb(t, e)
		w.poll("alice", query)
		w.want(status, part)
	}
	f("device=d1&c=e9.5", 410, `"poll.gone"`)
	f("device=d1&c=e1", 400, "http.400")
	f("device=d1&c=e1.05", 400, "http.400")
	f("device=d1&c=e1.5&c=e1.6", 400, "http.400")
	f("device=d1&c=e1.5&seq=6", 400, "http.400")
	f("c=e1.5", 400, "http.400")
	f("device=%20&c=e1.5", 400, "http.400")
	f("device=d1&wait=soon", 400, "http.400")
	f("device=d1&token=x", 400, "logs")
	w := newWeb(t, e)
	w.write("GET /v1/poll?device=d1 HTTP/1.1\r\nHost: test\r\n\r\n")
	w.want(401, "token.invalid")
	w = newWeb(t, e)
	w.write("POST /v1/poll?device=d1 HTTP/1.1\r\nHost: test\r\n\r\n")
	w.want(405)
	w = newWeb(t, e)
	w.write("GET /v1/poll?device=d1 HTTP/1.1\r\nHost: test\r\nOrigin: https://evil.example\r\nAuthorization: Bearer user:a\r\n\r\n")
	w.want(403)
}

// TestAnswersOfOneRequestNeverReachTheNext: behind a proxy one connection carries
// the requests of many users.
func TestAnswersOfOneRequestNeverReachTheNext(t *testing.T) {
	head := godwit.Seq(5)
	chat, opened := heldChat(&head)
	e := newEdge(t, chat, nil)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&c=e1.5&wait=60")
	alice := <-opened
	e.Close(alice, godwit.CloseReplaced, "replaced")
	w.want(200)
	w.poll("bob", "device=d1&c=e1.5&wait=60")
	bob := <-opened
	secret, open := event(6), event(6)
	secret.Msg.Body = []byte("for alice")
	e.Deliver([]godwit.SessionID{alice}, &secret)
	e.Deliver([]godwit.SessionID{bob}, &open)
	if body := w.want(200, `"text":"m6"`); strings.Contains(body, "for alice") {
		t.Fatal(body)
	}
}

func TestCallAnswersInTheOrderOfItsCommands(t *testing.T) {
	held := make(chan func(), 8)
	chat := &fakeChat{}
	chat.onRequest = func(s godwit.SessionID, user godwit.UserID, f *godwit.ClientFrame) {
		id := f.ID
		held <- func() {
			chat.edge.Reply(s, &godwit.ServerFrame{ID: id, Kind: godwit.KindSend, Send: godwit.SendReply{State: "stored", Seq: godwit.Seq(id), Conv: godwit.ConversationID("u:" + user)}})
		}
	}
	w := newWeb(t, newEdge(t, chat, nil))
	w.call("alice", `{"id":7,"send":{"to":"bob","cid":"a","text":"x"}}`+"\n"+`{"id":3,"ack":{"seq":1}}`+"\n"+`{"id":5,"send":{"to":"bob","cid":"b","text":"y"}}`)
	first, second := <-held, <-held
	second()
	first()
	body := w.want(200)
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], `{"id":7,"send"`) || !strings.HasPrefix(lines[1], `{"id":3,"error":{"code":"frame.unknown"`) || !strings.HasPrefix(lines[2], `{"id":5,"send"`) {
		t.Fatal(body)
	}
	w.call("bob", `{"id":1,"send":{"to":"bob","cid":"c","text":"z"}}`) // the connection goes on
	(<-held)()
	w.want(200, `"conv":"u:bob"`)
}

func TestCallRefusals(t *testing.T) {
	requests := 0
	chat := &fakeChat{onRequest: func(godwit.SessionID, godwit.UserID, *godwit.ClientFrame) { requests++ }}
	e := newEdge(t, chat, nil)
	f := func(body string, status int, part string, extra ...string) {
		t.Helper()
		w := newWeb(t, e)
		w.call("alice", body, extra...)
		w.want(status, part)
	}
	const send = `{"id":1,"send":{"to":"bob","cid":"a","text":"x"}}`
	f("", 400, "frame.invalid")
	f("{", 400, "frame.malformed")
	f(send+"\n"+send, 400, "frame.invalid")
	f(strings.Replace(send, `"id":1,`, "", 1), 400, "frame.invalid")
	f(send, 415, "http.415", "Content-Type: text/html\r\n")
	var many []string
	for i := range 51 {
		many = append(many, fmt.Sprintf(`{"id":%d,"sync":{}}`, i+1))
	}
	f(strings.Join(many, "\n"), 400, "frame.invalid")
	f(strings.Repeat(" ", 70000), 413, "http.413")
	if requests != 0 {
		t.Fatalf("%d commands of refused calls were done", requests)
	}
}

func TestCallAwaitsItsBodyAndContinues(t *testing.T) {
	w := newWeb(t, newEdge(t, &fakeChat{}, nil))
	const body = `{"id":1,"send":{"to":"bob","cid":"a","text":"x"}}`
	w.write(fmt.Sprintf("POST /v1/rpc HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer user:a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body)))
	if line, err := w.r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q %v", line, err)
	}
	_, _ = w.r.ReadString('\n')
	w.write(body[:10])
	w.write(body[10:])
	w.want(200, `"state":"stored"`)
}

func TestPreflightLetsPagesOfAllowedOriginsAsk(t *testing.T) {
	e := newEdge(t, &fakeChat{}, func(c *Config) { c.Origins = []string{"https://chat.example"} })
	w := newWeb(t, e)
	w.write("OPTIONS /v1/rpc HTTP/1.1\r\nHost: test\r\nOrigin: https://chat.example\r\nAccess-Control-Request-Method: POST\r\n\r\n")
	r, _ := w.read()
	if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "authorization") {
		t.Fatalf("%+v", r)
	}
	w.write("OPTIONS /v1/poll HTTP/1.1\r\nHost: test\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n\r\n")
	w.want(403)
}

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"e1.5", "a.b.1z", ".1", "e.", "e.01", "e.zzzzzzzzzzzzzz", "e.-1", "e.+1", "e.A", "e.5,g1:a", "e.5,g1:a,g2:2gosa7pa2gv", "a,b.c,d:1", "e.5,", "e.5,g2:1,g1:1", "e.5,g:01", "e.5,a:b:c", "e.5~3w5e11264sgsf", "e.5~3w5e11264sgsf,g1:a", "e.5~", "e.5~0", "e.5~1~1", "e.5~3w5e11264sgsg"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, c []byte) {
		if p, ok := parseCursor(c); ok && string(appendCursor(nil, &p)) != string(c) {
			t.Fatalf("%q is another spelling of %+v", c, p)
		}
		for _, base := range []int{10, 36} {
			if places, ok := parsePlaces(c, base); ok && string(appendPlaces(nil, places, base)) != string(c) {
				t.Fatalf("%q is another spelling of %v", c, places)
			}
		}
	})
}

func TestPollReplacedWhileItIsOpenedKeepsItsCursor(t *testing.T) {
	chat := &fakeChat{}
	chat.onConnect = func(s godwit.SessionID, _ Hello) { chat.edge.Close(s, godwit.CloseReplaced, "replaced") }
	w := newWeb(t, newEdge(t, chat, nil))
	w.poll("alice", "device=d1&c=e1.5")
	if body := w.want(200); body != `{"poll":{"cursor":"e1.5"}}`+"\n" {
		t.Fatal(body)
	}
	w.poll("alice", "device=d1") // it has none yet
	w.want(429, "rate.limited")
}

func TestPollOfALoggedOutDeviceSaysSo(t *testing.T) {
	head := godwit.Seq(5)
	chat, opened := heldChat(&head)
	e := newEdge(t, chat, nil)
	w := newWeb(t, e)
	w.poll("alice", "device=d1&c=e1.5&wait=60")
	e.Close(<-opened, godwit.CloseLoggedOut, "device.logged_out") // while it is held
	w.want(401, "device.logged_out")

	refusing := &fakeChat{}
	refusing.onConnect = func(s godwit.SessionID, _ Hello) {
		refusing.edge.Close(s, godwit.CloseLoggedOut, "device.logged_out")
	}
	w = newWeb(t, newEdge(t, refusing, nil))
	w.poll("alice", "device=d1&c=e1.5")
	w.want(401, "device.logged_out")
}

// A call is judged before its commands are done, and the connection goes on.
func TestCallOfALoggedOutDeviceIsRefused(t *testing.T) {
	requests := 0
	chat := &fakeChat{onRequest: func(godwit.SessionID, godwit.UserID, *godwit.ClientFrame) { requests++ }}
	asked := make(chan Hello, 1)
	chat.onCall = func(s godwit.SessionID, hello Hello) {
		asked <- hello
		chat.edge.Close(s, godwit.CloseLoggedOut, "device.logged_out")
	}
	w := newWeb(t, newEdge(t, chat, nil))
	for range 2 {
		w.call("alice:0:77", `{"id":1,"send":{"to":"bob","cid":"a","text":"x"}}`)
		w.want(401, `"device.logged_out"`)
		if hello := <-asked; hello.User != "alice" || hello.Device != "d" || hello.Issued != 77 || !hello.Call {
			t.Errorf("asked %+v", hello)
		}
	}
	if requests != 0 {
		t.Errorf("%d commands were done", requests)
	}
}
