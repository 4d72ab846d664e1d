package edge

import (
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// stamps counts from 1000, above the echo, and notes what was echoed.
func stamps(echoes chan<- uint64) func(uint64) uint64 {
	last := uint64(1000)
	return func(echo uint64) uint64 {
		echoes <- echo
		last = max(last, echo) + 1
		return last
	}
}

func TestASessionIsStampedAboveWhatItsClientWasTold(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		echoes := make(chan uint64, 8)
		hellos := make(chan Hello, 2)
		chat := &fakeChat{}
		chat.onConnect = func(s godwit.SessionID, h Hello) {
			hellos <- h
			chat.edge.Connected(s, godwit.Welcome{Epoch: "e1"})
		}
		e := newEdge(t, chat, func(c *Config) { c.Stamp = stamps(echoes) })
		ask := func(echo string) *godwit.ServerFrame {
			c := dial(t, e, enc)
			c.send(&godwit.ClientFrame{ID: 1, Kind: godwit.KindConnect, Connect: godwit.Connect{
				Token: []byte("user:alice"), Device: []byte("phone"), Resume: godwit.Resume{Set: true, Epoch: []byte("e1"), Stamp: []byte(echo)},
			}})
			return c.next()
		}
		if f := ask(""); f.Connect.Stamp != "1001" {
			t.Errorf("the first: %q", f.Connect.Stamp)
		}
		if h := <-hellos; h.Stamp != 1001 || <-echoes != 0 {
			t.Errorf("chat was told %d", h.Stamp)
		}
		if f := ask("465223887110471681"); f.Connect.Stamp != "465223887110471682" {
			t.Errorf("the second: %q", f.Connect.Stamp)
		}
		if h, echo := <-hellos, <-echoes; h.Stamp != 465223887110471682 || echo != h.Stamp-1 {
			t.Errorf("chat was told %d, echoed was %d", h.Stamp, echo)
		}
		if f := ask("007"); f.Kind != godwit.KindError || f.Error.Code != godwit.ErrFrameInvalid.Code {
			t.Errorf("what is no stamp: %+v", f)
		}
	})
}

func TestThePollsOfAClientCarryItsStamp(t *testing.T) {
	echoes := make(chan uint64, 8)
	head := godwit.Seq(41)
	chat, _ := heldChat(&head)
	w := newWeb(t, newEdge(t, chat, func(c *Config) { c.Stamp = stamps(echoes) }))
	w.poll("alice", "device=d1&stamp=4000")
	body := w.want(200, `"stamp":"4001"`, `{"poll":{"cursor":"e1.15~335"}}`)
	cursor := body[strings.LastIndex(body, "e1.15"):]
	w.poll("alice", "device=d1&wait=0&c="+cursor[:strings.IndexByte(cursor, '"')])
	w.want(200, `{"poll":{"cursor":"e1.15~336"}}`)
	w.poll("alice", "device=d1&wait=0&epoch=e1&seq=41&stamp=9000")
	w.want(200, `{"poll":{"cursor":"e1.15~6y1"}}`)
	for _, want := range []uint64{4000, 4001, 9000} {
		if echo := <-echoes; echo != want {
			t.Errorf("echoed: %d, want %d", echo, want)
		}
	}
	for _, bad := range []string{"device=d1&stamp=x", "device=d1&stamp=1&c=e1.15", "device=d1&stamp=1&stamp=1"} {
		w.poll("alice", bad)
		w.want(400)
		w = newWeb(t, chat.edge)
	}
}
