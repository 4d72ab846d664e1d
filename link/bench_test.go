package link

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// quietEdge counts what a real edge would write, and loses it.
type quietEdge struct {
	fakeEdge
	replied chan struct{}
}

func (e *quietEdge) Reply(godwit.SessionID, *godwit.ServerFrame) { e.replied <- struct{}{} }

// benchLink joins two ends in this process over a real socket file, or TCP without
// or with TLS.
func benchLink(b *testing.B, edge *quietEdge, over string) (*Hub, *fakeChat, *Client) {
	chat := &fakeChat{log: newLog()}
	config := HubConfig{Chat: chat, Router: chat, Node: "engine"}
	attached := make(chan struct{})
	up := ClientConfig{About: About{Node: "edge-1"}, Attached: func() { close(attached) }}
	address := "127.0.0.1:0"
	switch over {
	case "socket":
		address = "unix:" + filepath.Join(b.TempDir(), "s")
	case "tls":
		ca := newAuthority(b)
		config.TLS, up.TLS = new(papers).hold(b, ca, theEngine, time.Hour, ca).tls(), new(papers).hold(b, ca, edgeOne, time.Hour, ca).tls()
	}
	hub, err := NewHub(config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(hub.Stop)
	listener, err := Listen(address)
	if err != nil {
		b.Fatal(err)
	}
	hub.Serve(listener)
	if over != "socket" {
		address = listener.Addr().String()
	}
	up.Resolve = At(address)
	client, err := Attach(b.Context(), up)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	client.Start(edge)
	<-attached
	return hub, chat, client
}

// BenchmarkRequestAndReply takes a send of 128 bytes to the engine process's chat
// tier and its answer back, with that many under way. Both ends run here, so that
// the time of one op is the CPU of both.
func BenchmarkRequestAndReply(b *testing.B) {
	for _, over := range []string{"socket", "tcp", "tls"} {
		for _, window := range []int{1, 32, 1024} {
			b.Run(fmt.Sprintf("over=%s/window=%d", over, window), func(b *testing.B) { requestAndReply(b, over, window) })
		}
	}
}

func requestAndReply(b *testing.B, over string, window int) {
	edge := &quietEdge{replied: make(chan struct{}, window)}
	hub, chat, client := benchLink(b, edge, over)
	chat.onRequest = func(s godwit.SessionID, _ godwit.UserID, f *godwit.ClientFrame) {
		hub.Reply(s, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend, Send: godwit.SendReply{State: godwit.StateStored, Seq: 7, Conv: "u:bob", Time: 1e12}})
	}
	f := godwit.ClientFrame{ID: 7, Kind: godwit.KindSend, Send: godwit.Send{To: []byte("bob"), CID: []byte("0123456789abcdef"), Text: make([]byte, 128), HasText: true}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i >= window {
			<-edge.replied
		}
		client.Request(5, "alice", &f)
	}
	for range min(b.N, window) {
		<-edge.replied
	}
	b.StopTimer()
	s := client.Stats()
	b.ReportMetric(float64(s.SentItems)/float64(s.SentBatches), "items/batch-up")
	b.ReportMetric(float64(s.GotItems)/float64(s.GotBatches), "items/batch-down")
}

func (e *quietEdge) Hint([]godwit.SessionID, godwit.Seq) {}

func (e *quietEdge) Tell([]godwit.SessionID, *godwit.ServerFrame) {}

func (e *quietEdge) Whisper([]godwit.SessionID, *godwit.ServerFrame) {}
