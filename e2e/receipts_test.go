package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// receiptsIn are the marks of a user among JSON frames of his peer or himself, as
// delivered and read.
func receiptsIn(t *testing.T, frames []string, user godwit.UserID) (list [][2]godwit.Seq) {
	t.Helper()
	for _, frame := range frames {
		var f godwit.ServerFrame
		if err := f.Parse(godwit.EncodingJSON, []byte(frame)); err != nil {
			t.Fatalf("%s: %v", frame, err)
		}
		if r := f.Event.Receipt; f.Kind == godwit.KindEvent && f.Event.Kind == godwit.EntryReceipt && r.User == user {
			list = append(list, [2]godwit.Seq{r.Delivered, r.Read})
		}
	}
	return list
}

// TestTheSenderSeesStoredThenDeliveredThenRead, on all of her devices, while the
// reader is away, comes back, and has two devices himself. Marks never go back.
func TestTheSenderSeesStoredThenDeliveredThenRead(t *testing.T) {
	t.Parallel()
	for _, edges := range []int{0, 2} {
		t.Run(fmt.Sprint("edges", edges), func(t *testing.T) {
			t.Parallel()
			testReceipts(t, newUsers(t, []string{fmt.Sprint("GODWIT_EDGES=", edges)}, nil, "alice", "bob"))
		})
	}
}

//tidy:long one conversation from its first message to a restart
func testReceipts(t *testing.T, s *users) {
	phone, _ := newLine(t, s, godwit.EncodingProto, "alice", "phone", godwit.Resume{})
	poll := newPost(t, s, "alice", "web")
	poll.listen()
	peer := func(delivered, read int) string {
		text := `"receipt":{"conv":"u:bob","user":"bob","delivered":%d,"read":%d}`
		return fmt.Sprintf(text, delivered, read)
	}
	polled := func(text string) {
		t.Helper()
		until(t, "the poll has "+text, func() bool {
			poll.listen()
			return strings.Contains(strings.Join(poll.said, "\n"), text)
		})
	}
	// Bob has never been here: the send does not fail, and nothing is claimed.
	for i := range 4 {
		if answer := must(t, phone, say("bob", fmt.Sprint("c", i), fmt.Sprint("message ", i))); !strings.Contains(answer, `"state":"stored"`) {
			t.Fatal(answer)
		}
	}
	if answer := must(t, phone, `{"conversations":{}}`); strings.Contains(answer, `"peer_`) {
		t.Errorf("delivered to one who never came: %s", answer)
	}
	// He comes, and has them: delivered. Then he reads some on the other device.
	bob, _ := newLine(t, s, godwit.EncodingJSON, "bob", "phone", godwit.Resume{Set: true})
	tablet := newPost(t, s, "bob", "tablet")
	tablet.listen()
	bob.until("message 3")
	must(t, bob, `{"mark":{"conv":"u:alice","delivered":4}}`)
	phone.until(peer(4, 0))
	polled(peer(4, 0))
	must(t, tablet, `{"mark":{"conv":"u:alice","read":2}}`)
	phone.until(peer(4, 2))
	polled(peer(4, 2))
	bob.until(`"receipt":{"conv":"u:alice","user":"bob","delivered":4,"read":2,"unread":2}`)
	// What is behind changes nothing, and says so.
	head := func(who speaker) string { return must(t, who, `{"sync":{"from":1,"to":1}}`) }
	before, bobBefore := head(phone), head(bob)
	for _, request := range []string{`{"mark":{"conv":"u:alice","read":1}}`, `{"mark":{"conv":"u:alice","delivered":3}}`, `{"mark":{"conv":"u:alice","read":2,"delivered":1}}`} {
		if answer := must(t, bob, request); !strings.Contains(answer, `"dup":true`) {
			t.Errorf("%s is answered %s", request, answer)
		}
	}
	if head(phone) != before || head(bob) != bobBefore {
		t.Errorf("marks that are behind moved the logs")
	}
	// Now she is away, he reads on, and the server dies in between.
	phone.conn.NetConn().Close()
	must(t, bob, `{"mark":{"conv":"u:alice","read":3}}`)
	must(t, bob, `{"mark":{"conv":"u:alice","read":4}}`)
	polled(peer(4, 4))
	heard := slices.Clone(phone.heard())
	bob.conn.NetConn().Close()
	s.kill()
	s.start()
	again, _ := newLine(t, s, godwit.EncodingJSON, "alice", "phone", godwit.Resume{Set: true, Seq: 4})
	poll.base = "http://" + s.listen
	again.until(peer(4, 4))
	if got := receiptsIn(t, again.heard(), "bob"); len(got) != 1 {
		t.Errorf("a resume brings the receipts %v, want the last alone", got)
	}
	if answer := must(t, again, `{"conversations":{}}`); !strings.Contains(answer, `"peer_read":4,"peer_delivered":4`) {
		t.Errorf("conversations: %s", answer)
	}
	back, _ := newLine(t, s, godwit.EncodingProto, "bob", "phone", godwit.Resume{})
	if answer := must(t, back, `{"conversations":{}}`); !strings.Contains(answer, `"unread":0,"read":4,"delivered":4`) {
		t.Errorf("bob's: %s", answer)
	}
	if answer := must(t, back, `{"mark":{"conv":"u:alice","read":1}}`); !strings.Contains(answer, `"dup":true`) {
		t.Errorf("after the restart a mark goes back: %s", answer)
	}
	for name, frames := range map[string][]string{"phone": append(heard, again.heard()...), "poll": poll.heard()} {
		last := [2]godwit.Seq{}
		list := receiptsIn(t, frames, "bob")
		for _, r := range list {
			if r[0] < last[0] || r[1] < last[1] {
				t.Errorf("%s: marks go back: %v", name, list)
			}
			last = r
		}
		if last != [2]godwit.Seq{4, 4} {
			t.Errorf("%s: %v", name, list)
		}
	}
}
