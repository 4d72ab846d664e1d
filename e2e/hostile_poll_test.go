package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// ask sends one HTTP request and reads its answer.
func (c *rawConn) ask(s *server, token, request, body string) (status int, ends bool, answer string) {
	c.t.Helper()
	c.say(pollRequest(s, token, request, body))
	return c.answer()
}

func pollRequest(s *server, token, request, body string) string {
	method, path, _ := strings.Cut(request, " ")
	length := ""
	if method == "POST" {
		length = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return method + " " + path + " HTTP/1.1\r\nHost: " + s.listen + "\r\nAuthorization: Bearer " + token + "\r\n" + length + "\r\n" + body
}

func (c *rawConn) answer() (status int, ends bool, answer string) {
	c.t.Helper()
	reply, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		c.t.Fatalf("half an answer: %v", err)
	}
	return reply.StatusCode, reply.Close, string(body)
}

// cursorOf takes the cursor out of a poll's answer.
func cursorOf(t *testing.T, answer string) string {
	t.Helper()
	_, rest, found := strings.Cut(answer, `"poll":{"cursor":"`)
	cursor, _, end := strings.Cut(rest, `"`)
	if !found || !end {
		t.Fatalf("no cursor in %q", answer)
	}
	return cursor
}

// TestHeldPollsOfAUserAreBounded: they are sessions of his as any, and the oldest
// gives way.
func TestHeldPollsOfAUserAreBounded(t *testing.T) {
	const most = 3
	s, bystanders := withControls(t, fmt.Sprint("GODWIT_LIMITS_SESSIONS=", most))
	token := s.tokens("mallory")["mallory"]
	first := dialServer(t, s)
	_, _, answer := first.ask(s, token, "GET /v1/poll?device=first", "")
	cursor := cursorOf(t, answer)
	var held []*rawConn
	for i := range 2 * most {
		conn := dialServer(t, s)
		conn.say(pollRequest(s, token, fmt.Sprintf("GET /v1/poll?device=d%d&wait=60&c=%s", i, cursor), ""))
		bystanders.await("the poll is not held", func() bool {
			return metric(t, s.ops, "godwit_edge_connections") >= 3 && metric(t, s.ops, "godwit_edge_polls") == float64(min(i+1, most))
		})
		held = append(held, conn)
	}
	for i, conn := range held[:most] {
		if status, _, answer := conn.answer(); status != 429 || !strings.Contains(answer, `"rate.limited"`) || !strings.Contains(answer, `"retry_after_ms":`) {
			t.Errorf("poll %d: %d %s", i, status, answer)
		}
	}
	if status, _, answer := first.ask(s, token, "POST /v1/rpc?device=first", `{"id":1,"send":{"to":"mallory","cid":"c1","text":"to myself"}}`); status != 200 || !strings.Contains(answer, `"stored"`) {
		t.Fatalf("%d %s", status, answer)
	}
	for i, conn := range held[most:] {
		if status, _, answer := conn.answer(); status != 200 || !strings.Contains(answer, "to myself") {
			t.Errorf("poll %d: %d %s", most+i, status, answer)
		}
	}
	bystanders.progress()
}

// TestCallsOfAConnectionArePaced, whole calls at a time: what is refused is not
// done by half.
func TestCallsOfAConnectionArePaced(t *testing.T) {
	s, bystanders := withControls(t, "GODWIT_LIMITS_FRAMES_PER_S=400")
	token := s.tokens("mallory")["mallory"]
	var commands strings.Builder
	for id := range 50 {
		fmt.Fprintf(&commands, `{"id":%d,"conversations":{"limit":1}}`+"\n", id+1)
	}
	conn := dialServer(t, s)
	done, refused := 0, 0
	for range 100 { // 5000 commands
		switch status, ends, answer := conn.ask(s, token, "POST /v1/rpc?device=d", commands.String()); {
		case status == 200 && strings.Count(answer, `"conversations":{`) == 50:
			done++
		case status == 429 && strings.Contains(answer, `"retry_after_ms":`):
			refused++
			if ends {
				conn = dialServer(t, s)
			}
		default:
			t.Fatalf("%d %.300s", status, answer)
		}
	}
	t.Logf("%d calls done, %d refused", done, refused)
	if done < 15 || refused == 0 {
		t.Errorf("%d calls were done, %d refused", done, refused)
	}
	if status, _, _ := dialServer(t, s).ask(s, token, "POST /v1/rpc?device=d", commands.String()+`{"id":51,"conversations":{"limit":1}}`); status != 400 {
		t.Errorf("51 commands are answered with %d", status)
	}
	bystanders.progress()
}
