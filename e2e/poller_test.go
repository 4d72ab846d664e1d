package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/godwit-im/godwit"
)

// poller is a long-polling client that knows nothing but docs/protocol.md.
type poller struct {
	base, token, device string
	encoding            godwit.Encoding
	cursor              string
	cut                 int // answers that broke off
}

func (p *poller) media() string {
	if p.encoding == godwit.EncodingProto {
		return "application/x-protobuf"
	}
	return "application/x-ndjson"
}

// request makes one request; err is that no whole answer came.
func (p *poller) request(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, p.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Accept", p.media())
	if body != nil {
		r.Header.Set("Content-Type", p.media())
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// get polls with a query; wait 0 is not held.
func (p *poller) get(ctx context.Context, t testing.TB, q url.Values, wait int) (status int, frames []godwit.ServerFrame, err error) {
	t.Helper()
	q.Set("device", p.device)
	q.Set("wait", strconv.Itoa(wait))
	status, answer, err := p.request(ctx, http.MethodGet, "/v1/poll?"+q.Encode(), nil)
	if err != nil {
		return 0, nil, err
	}
	encoding := p.encoding
	if status != http.StatusOK {
		encoding = godwit.EncodingJSON
	}
	return status, parseFrames(t, encoding, answer), nil
}

// next polls at the cursor and moves it; the frames are those before the poll
// frame. nil and false: the answer broke off.
func (p *poller) next(ctx context.Context, t testing.TB, wait int) (frames []godwit.ServerFrame, ok bool) {
	t.Helper()
	q := url.Values{}
	if p.cursor != "" {
		q.Set("c", p.cursor)
	}
	status, frames, err := p.get(ctx, t, q, wait)
	if err != nil {
		p.cut++
		return nil, false
	}
	if status != http.StatusOK {
		t.Fatalf("poll at %q: %d %+v", p.cursor, status, frames)
	}
	last := len(frames) - 1
	if last < 0 || frames[last].Kind != godwit.KindPoll {
		t.Fatalf("poll at %q does not end with a poll frame: %+v", p.cursor, frames)
	}
	p.cursor = frames[last].Poll.Cursor
	return frames[:last], true
}

// call posts commands and returns their replies.
func (p *poller) call(t testing.TB, commands ...godwit.ClientFrame) []godwit.ServerFrame {
	t.Helper()
	var body []byte
	for i := range commands {
		commands[i].ID = uint64(100 + i)
		body = commands[i].AppendFrameTo(body, p.encoding)
	}
	status, answer, err := p.request(t.Context(), http.MethodPost, "/v1/rpc?device="+p.device, body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("rpc: %d %s %v", status, answer, err)
	}
	replies := parseFrames(t, p.encoding, answer)
	if len(replies) != len(commands) {
		t.Fatalf("%d replies to %d commands", len(replies), len(commands))
	}
	for i := range replies {
		if replies[i].ID != commands[i].ID {
			t.Fatalf("reply %d has id %d, want %d", i, replies[i].ID, commands[i].ID)
		}
	}
	return replies
}

func parseFrames(t testing.TB, encoding godwit.Encoding, message []byte) (frames []godwit.ServerFrame) {
	t.Helper()
	for rest := message; len(rest) > 0; {
		frame, left, err := godwit.NextFrame(encoding, rest)
		if err != nil {
			t.Fatalf("unreadable answer %q: %v", message, err)
		}
		rest = left
		var f godwit.ServerFrame
		if err := f.Parse(encoding, frame); err != nil {
			t.Fatalf("frame %q: %v", frame, err)
		}
		frames = append(frames, f)
	}
	return frames
}
