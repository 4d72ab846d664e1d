package ws_test

import (
	"fmt"

	"github.com/godwit-im/godwit/edge/ws"
)

// The bytes of two reads: a text message split by the network, with a ping
// between its fragments. What was not consumed would be shown again.
func ExampleReader_Message() {
	cfg := ws.Config{MessageMaxBytes: 64 << 10, FragmentsMax: 1024}
	first := ws.AppendMasked(nil, false, ws.Text, 0x11223344, []byte("hello, "))
	first = ws.AppendMasked(first, true, ws.Ping, 0x55667788, []byte("still there?"))
	second := ws.AppendMasked(nil, true, ws.Continuation, 0x99aabbcc, []byte("world"))

	var (
		r     ws.Reader // stays with the connection
		spare ws.Buffer // the loop's; the connection keeps it while r.Partial()
	)
	for _, window := range [][]byte{first, second} {
		for {
			ev, n, need, err := r.Message(&cfg, window, &spare)
			window = window[n:]
			if err != nil || need > 0 {
				break
			}
			fmt.Println(ev.Op == ws.Ping, string(ev.Payload))
		}
		fmt.Println("partial:", r.Partial())
	}
	// Output:
	// true still there?
	// partial: true
	// false hello, world
	// partial: false
}
