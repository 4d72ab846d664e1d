package edge

import (
	"testing"
	"unsafe"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// liesIn reports whether b lies in the memory of window.
func liesIn(b, window []byte) bool {
	begin, first := uintptr(unsafe.Pointer(unsafe.SliceData(window))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return len(b) > 0 && first >= begin && first+uintptr(len(b)) <= begin+uintptr(len(window))
}

// TestPayloadAliasesReadBuffer: what the chat tier is shown of a whole frame lies
// in the very buffer that gnet read into, on a real socket: no byte was copied
// between the system call and Chat.Request. gnet reads all connections of a loop
// into one buffer, so the same memory must turn up for two of them.
func TestPayloadAliasesReadBuffer(t *testing.T) {
	for _, enc := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		type seen struct {
			aliases bool
			window  *byte
		}
		looked := make(chan seen, 1)
		chat := &fakeChat{}
		chat.onRequest = func(id godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
			window, _ := chat.edge.loops[0].sessions.find(id).conn.Peek(-1)
			looked <- seen{
				liesIn(f.Send.Text, window) && liesIn(f.Send.To, window) && liesIn(f.Send.CID, window) && string(f.Send.Text) == "not copied",
				unsafe.SliceData(window),
			}
		}
		e := newEdge(t, chat, nil)
		request := sendFrame(2, "not copied").AppendFrameTo(nil, enc)
		buffers := map[*byte]int{}
		for _, user := range []string{"alice", "bob"} {
			c := connect(t, e, enc, user)
			c.message(opcode(enc), request)
			got := <-looked
			if !got.aliases {
				t.Fatalf("%v: the payload of a whole frame was copied", enc)
			}
			buffers[got.window]++
			// In parts it has to be joined, elsewhere.
			c.raw(append(ws.AppendMasked(nil, false, opcode(enc), 3, request[:5]), ws.AppendMasked(nil, true, ws.Continuation, 4, request[5:])...))
			if got := <-looked; got.aliases {
				t.Fatalf("%v: fragments are said to lie in the window: the test shows nothing", enc)
			}
		}
		if len(buffers) != 1 {
			t.Fatalf("%v: two connections of a loop were read into %d buffers", enc, len(buffers))
		}
	}
}
