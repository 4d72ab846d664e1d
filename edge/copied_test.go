package edge

import (
	"bytes"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// TestCopiedInCountsWhatWasNotHandedOnInPlace: whole frames cost no copy; bytes
// left over cost one in gnet, and one more when they are joined with what comes;
// a message in parts costs one.
func TestCopiedInCountsWhatWasNotHandedOnInPlace(t *testing.T) {
	e, l, ids := liveSessions(t, 1)
	s := l.sessions.find(ids[0])
	conn := &windowConn{}
	s.conn = conn
	frame := ws.AppendMasked(nil, true, ws.Binary, 0x12345678, (&godwit.ClientFrame{Kind: godwit.KindPing}).AppendFrameTo(nil, godwit.EncodingProto))
	f := func(copied int, parts ...[]byte) {
		t.Helper()
		before := e.Stats().CopiedIn
		for _, part := range parts {
			conn.window = append(bytes.Clone(conn.window), part...)
			l.read(s)
			l.drain()
		}
		if got := int(e.Stats().CopiedIn - before); got != copied || len(conn.window) != 0 || s.state != stateLive {
			t.Errorf("%d bytes copied, want %d; %d left, state %d", got, copied, len(conn.window), s.state)
		}
	}
	f(0, frame)
	f(0, bytes.Repeat(frame, 16))
	// Half a header stays with gnet; then the whole window is a copy.
	f(3+len(frame), frame[:3], frame[3:])
	f(3+len(frame), append(bytes.Clone(frame), frame[:3]...), frame[3:])
	// A message of one byte in two fragments, and an empty one.
	payload := []byte{0}
	first := ws.AppendMasked(nil, false, ws.Binary, 0x12345678, payload)
	f(len(payload), append(first, ws.AppendMasked(nil, true, ws.Continuation, 0x12345678, nil)...))
}
