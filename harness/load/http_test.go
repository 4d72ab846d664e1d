package load

import (
	"errors"
	"strings"
	"testing"
)

func TestPollAnswersAreReadByTheirLength(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\ncontent-length: 5\r\n\r\n"
	for cut := range head + "hello" {
		if body, n, err := parsePoll([]byte((head + "hello")[:cut])); n != 0 || err != nil || body != nil {
			t.Fatalf("%d bytes are read as %q, %d, %v", cut, body, n, err)
		}
	}
	if body, n, err := parsePoll([]byte(head + "helloHTTP/1.1 ")); string(body) != "hello" || n != len(head)+5 || err != nil {
		t.Errorf("%q, %d, %v", body, n, err)
	}
	f := func(answer string) {
		t.Helper()
		if _, n, err := parsePoll([]byte(answer)); !errors.Is(err, errPoll) || n != 0 {
			t.Errorf("%q is read as %d bytes, %v", answer, n, err)
		}
	}
	f("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	f(strings.Repeat("x", handshakeBytesMax+1))
}

func TestPollRequestsSayWhereToGoOn(t *testing.T) {
	first := string(appendPoll(nil, "h:1", "bench", "", 25, []byte("tok")))
	if want := "GET /v1/poll?device=bench HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer tok\r\nAccept: application/x-protobuf\r\n\r\n"; first != want {
		t.Errorf("%q", first)
	}
	if next := string(appendPoll(nil, "h:1", "bench", "e.5", 25, []byte("tok"))); !strings.HasPrefix(next, "GET /v1/poll?device=bench&c=e.5&wait=25 HTTP/1.1\r\n") {
		t.Errorf("%q", next)
	}
}
