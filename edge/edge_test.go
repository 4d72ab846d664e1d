package edge

import (
	"testing"

	"github.com/godwit-im/godwit"
)

func childMain() bool { return false }

func TestSessionConnectsAndRequestsAreAnswered(t *testing.T) {
	encodings(t, func(t *testing.T, enc godwit.Encoding) {
		chat := &fakeChat{}
		e := newEdge(t, chat, nil)
		c := connect(t, e, enc, "alice")
		c.send(&godwit.ClientFrame{ID: 2, Kind: godwit.KindSend, Send: godwit.Send{To: []byte("bob"), CID: []byte("c1"), Text: []byte("hi"), HasText: true}})
		f := c.next()
		if f.Kind != godwit.KindSend || f.ID != 2 || f.Send.Seq != 7 {
			t.Fatalf("send answered by %+v", f)
		}
	})
}
