package edge

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// fakeSessions keeps what it hears in a list.
type fakeSessions struct {
	full atomic.Bool
	mu   sync.Mutex
	open map[godwit.SessionID]string
	last []string
}

func (f *fakeSessions) Began(s godwit.SessionID, user godwit.UserID, device string, stamp uint64, polled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	who := fmt.Sprint(user, " ", device, " ", stamp, " ", polled)
	f.open[s] = who
	f.last = append(f.last, "+"+who)
}

func (f *fakeSessions) Ended(s godwit.SessionID, user godwit.UserID, device string, stamp uint64, polled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	who := fmt.Sprint(user, " ", device, " ", stamp, " ", polled)
	if f.open[s] != who {
		panic("ended: " + who + ", began: " + f.open[s])
	}
	delete(f.open, s)
	f.last = append(f.last, "-"+who)
}

func (f *fakeSessions) Full() bool { return f.full.Load() }

func (f *fakeSessions) heard() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.last)
}

func TestSessionsAreToldOfAsTheyBeginAndEnd(t *testing.T) {
	chat, sessions := &fakeChat{}, &fakeSessions{open: map[godwit.SessionID]string{}}
	var stamps atomic.Uint64
	e := newEdge(t, chat, func(c *Config) {
		c.Sessions, c.Stamp = sessions, func(uint64) uint64 { return stamps.Add(1) }
	})
	c := dial(t, e, godwit.EncodingJSON)
	c.text(`{"id":1,"connect":{"token":"user:alice","device":"phone"}}`)
	c.next()
	_ = c.conn.Close()
	<-chat.disconnect
	w := newWeb(t, e)
	w.poll("bob", "device=d")
	w.want(200)
	w.call("bob", `{"id":1,"send":{"to":"u","cid":"c","text":"t"}}`) // a call is no session
	w.want(200)
	<-chat.disconnect
	want := "[+alice phone 1 false -alice phone 1 false +bob d 2 true -bob d 2 true]"
	for deadline := time.Now().Add(waitMax); sessions.heard() != want; {
		if time.Now().After(deadline) {
			t.Fatalf("heard %s, want %s", sessions.heard(), want)
		}
		w.call("bob", `{"id":1,"send":{"to":"u","cid":"c","text":"t"}}`)
		w.want(200)
	}
}

func TestNewcomersComeBackWhileTheDirectoryIsFull(t *testing.T) {
	sessions := &fakeSessions{open: map[godwit.SessionID]string{}}
	chat := &fakeChat{}
	chat.onConnect = func(s godwit.SessionID, hello Hello) {
		chat.edge.Connected(s, godwit.Welcome{Epoch: "e1", Resumed: hello.Resume})
	}
	e := newEdge(t, chat, func(c *Config) { c.Sessions = sessions })
	early := dial(t, e, godwit.EncodingJSON)
	w := newWeb(t, e)
	w.poll("bob", "device=d")
	w.want(200)
	sessions.full.Store(true)
	early.text(`{"id":1,"connect":{"token":"user:alice","device":"phone"}}`)
	early.wantClose(godwit.CloseOverloaded)
	late := newWeb(t, e)
	late.write(upgradeHead + "Sec-WebSocket-Protocol: godwit.v1.json\r\n\r\n")
	late.want(503, "retry_after_ms")
	late = newWeb(t, e)
	late.poll("carol", "device=d")
	late.want(503, "retry_after_ms")
	w.poll("bob", "device=d&wait=0&epoch=e1&seq=0") // who goes on is served
	w.want(200)
	w.askEdges("carol") // and so is who asks for the way to another
	w.want(200)
}
