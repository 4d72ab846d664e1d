package conformance

import (
	"fmt"
	"strings"
)

// limits is group 9: large messages, many fragments, many small writes, and many
// round trips, of which a plain test run makes fewer.
func limits() (list []testCase) {
	add := func(group, i int, run func(*peer)) {
		list = append(list, testCase{id: fmt.Sprintf("9.%d.%d", group, i+1), run: run})
	}
	kinds := []struct {
		op   byte
		fill string
		echo func(string) event
	}{{opText, "BAsd7&jh23", text}, {opBinary, "\x00\xfe\x00\xff\x01", binaryOf}}
	for k, kind := range kinds {
		payload := func(size int) string { return strings.Repeat(kind.fill, size/len(kind.fill)+1)[:size] }
		for i, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
			add(1+k, i, func(p *peer) { exchange(p, kind.echo(payload(size)), 0, frame{op: kind.op, payload: payload(size)}) })
		}
		for i, size := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
			add(3+k, i, func(p *peer) {
				body := payload(4 << 20)
				exchange(p, kind.echo(body), 0, split(kind.op, 0, body, size)...)
			})
		}
		for i, size := range []int{64, 128, 256, 512, 1024, 2048} {
			add(5+k, i, func(p *peer) {
				exchange(p, kind.echo(payload(1<<20)), size, frame{op: kind.op, payload: payload(1 << 20)})
			})
		}
		for i, size := range []int{0, 16, 64, 256, 1024, 4096} {
			add(7+k, i, func(p *peer) {
				for range counts(1000, 100) {
					p.send(frame{op: kind.op, payload: payload(size)})
					p.want(kind.echo(payload(size)))
				}
				p.close()
			})
		}
	}
	return list
}

// exchange sends while it reads: neither side may have to hold it all.
func exchange(p *peer, want event, chop int, frames ...frame) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if chop > 0 {
			p.chopped(chop, frames...)
		} else {
			p.send(frames...)
		}
	}()
	defer func() {
		if v := recover(); v != nil {
			_ = p.conn.Close()
			<-sent
			panic(v)
		}
	}()
	p.want(want)
	<-sent
	p.close()
}

// split cuts a message into frames of at most size bytes.
func split(op, rsv byte, body string, size int) (frames []frame) {
	for first := true; first || len(body) > 0; first = false {
		n := min(size, len(body))
		frames = append(frames, frame{op: op, rsv: rsv, payload: body[:n], more: n < len(body)})
		op, rsv, body = opContinuation, 0, body[n:]
	}
	return frames
}

// fragmented is group 10.
func fragmented() []testCase {
	return []testCase{{id: "10.1.1", run: func(p *peer) {
		body := strings.Repeat("*", 65536)
		exchange(p, text(body), 0, split(opText, 0, body, 1300)...)
	}}}
}
