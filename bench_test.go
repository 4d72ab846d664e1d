package godwit

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkFrames codes the frames of one message's path, with a short and a
// long body.
func BenchmarkFrames(b *testing.B) {
	for _, enc := range encodings {
		for _, lines := range []int{4, 140} {
			entry := Entry{Seq: 918291, Msg: textMessage(strings.Repeat("The quick brown fox jumps over the lazy dog, twice a day.\n", lines))}
			send := ClientFrame{ID: 3, Kind: KindSend, Send: Send{To: []byte("bob"), CID: entry.Msg.CID, Text: entry.Msg.Body, HasText: true}}
			name := fmt.Sprintf("%s/%dB", strings.TrimPrefix(enc.Subprotocol(), "godwit.v1."), len(entry.Msg.Body))
			benchmark(b, name, &send, &entry, enc)
		}
	}
}

func benchmark(b *testing.B, name string, send *ClientFrame, entry *Entry, enc Encoding) {
	request, event := send.AppendTo(nil, enc), AppendEvent(nil, enc, entry)
	var client ClientFrame
	var server ServerFrame
	dst := make([]byte, 0, 2*len(event))
	run := func(what string, size int, f func()) {
		b.Run(what+"/"+name, func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	run("ParseSend", len(request), func() { mustParse(client.Parse(enc, request)) })
	run("AppendEvent", len(event), func() { dst = AppendEventFrame(dst[:0], enc, entry) })
	run("ParseEvent", len(event), func() { mustParse(server.Parse(enc, event)) })
}
