package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// testCase is one case of the list. offer is what the client asks for.
type testCase struct {
	id    string
	offer string
	run   func(*peer)
}

func cases() []testCase {
	return slices.Concat(framing(), pings(), reservedBits(), opcodes(), fragmentation(), textCases(), closings(), limits(), fragmented(), compression())
}

// framing is group 1: messages of every length form.
func framing() (list []testCase) {
	for kind, op := range []byte{opText, opBinary} {
		fill, echo := "*", text
		if op == opBinary {
			fill, echo = "\xfe", binaryOf
		}
		for i, size := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			list = append(list, testCase{id: fmt.Sprintf("1.%d.%d", kind+1, i+1), run: func(p *peer) {
				payload := strings.Repeat(fill, size)
				if i == 7 {
					p.chopped(997, frame{op: op, payload: payload})
				} else {
					p.send(frame{op: op, payload: payload})
				}
				p.want(echo(payload))
				p.close()
			}})
		}
	}
	return list
}

// pings is group 2.
func pings() (list []testCase) {
	add := func(run func(*peer)) { list = append(list, testCase{id: fmt.Sprintf("2.%d", len(list)+1), run: run}) }
	answered := func(payload string, chop int) {
		add(func(p *peer) {
			p.chopped(chop, frame{op: opPing, payload: payload})
			p.want(pong(payload))
			p.close()
		})
	}
	long := strings.Repeat("\xfe", 125)
	answered("", 1000)
	answered("Hello, world!", 1000)
	answered("\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 1000)
	answered(long, 1000)
	add(func(p *peer) {
		p.send(frame{op: opPing, payload: long + "\xfe"})
		p.closes(1002)
	})
	answered(long, 1)
	for _, payload := range []string{"", "unsolicited pong payload"} {
		add(func(p *peer) {
			p.send(frame{op: opPong, payload: payload})
			p.close()
		})
	}
	add(func(p *peer) {
		p.send(frame{op: opPong, payload: "unsolicited pong payload"}, frame{op: opPing, payload: "ping payload"})
		p.want(pong("ping payload"))
		p.close()
	})
	for _, chop := range []int{1000, 1} {
		add(func(p *peer) {
			for i := range 10 {
				p.chopped(chop, frame{op: opPing, payload: fmt.Sprintf("payload-%d", i)})
			}
			for i := range 10 {
				p.want(pong(fmt.Sprintf("payload-%d", i)))
			}
			p.close()
		})
	}
	return list
}

const hello = "Hello, world!"

// refused sends a sound message, then a wrong frame and a ping, which must not be
// answered any more. chop 0: all with one call.
func refused(wrong frame, chop int) func(*peer) {
	return func(p *peer) {
		frames := []frame{{op: opText, payload: hello}, wrong, {op: opPing}}
		if chop == 0 {
			p.send(frames...)
		} else {
			p.chopped(chop, frames...)
		}
		p.want(text(hello))
		p.closes(1002)
	}
}

func refusedAlone(wrong ...frame) func(*peer) {
	return func(p *peer) {
		p.send(wrong...)
		p.closes(1002)
	}
}

// reservedBits is group 3: none is in use without an extension.
func reservedBits() []testCase {
	return []testCase{
		{id: "3.1", run: refusedAlone(frame{op: opText, payload: hello, rsv: 1})},
		{id: "3.2", run: refused(frame{op: opText, payload: hello, rsv: 2}, 0)},
		{id: "3.3", run: refused(frame{op: opText, payload: hello, rsv: 3}, 1000)},
		{id: "3.4", run: refused(frame{op: opText, payload: hello, rsv: 4}, 1)},
		{id: "3.5", run: refusedAlone(frame{op: opBinary, payload: "\x00\xff\xfe\xfd\xfc\xfb\x00\xff", rsv: 5})},
		{id: "3.6", run: refusedAlone(frame{op: opPing, payload: hello, rsv: 6})},
		{id: "3.7", run: refusedAlone(frame{op: opClose, rsv: 7})},
	}
}

// opcodes is group 4: the reserved ones.
func opcodes() (list []testCase) {
	for kind, first := range []byte{3, 11} {
		id := func(i int) string { return fmt.Sprintf("4.%d.%d", kind+1, i) }
		list = append(list,
			testCase{id: id(1), run: refusedAlone(frame{op: first})},
			testCase{id: id(2), run: refusedAlone(frame{op: first + 1, payload: "reserved opcode payload"})},
			testCase{id: id(3), run: refused(frame{op: first + 2}, 0)},
			testCase{id: id(4), run: refused(frame{op: first + 3, payload: hello}, 0)},
			testCase{id: id(5), run: refused(frame{op: first + 4, payload: hello}, 1)})
	}
	return list
}

// fragmentation is group 5.
func fragmentation() (list []testCase) {
	add := func(run func(*peer)) { list = append(list, testCase{id: fmt.Sprintf("5.%d", len(list)+1), run: run}) }
	first := frame{op: opText, payload: "fragment1", more: true}
	last := frame{payload: "fragment2"}
	// each runs a case with one call for all, one call a frame, one call a byte.
	each := func(frames []frame, then func(*peer)) {
		for _, chop := range []int{0, 1000, 1} {
			add(func(p *peer) {
				if chop == 0 {
					p.send(frames...)
				} else {
					p.chopped(chop, frames...)
				}
				then(p)
			})
		}
	}
	broken := func(p *peer) { p.closes(1002) }
	add(refusedAlone(frame{op: opPing, payload: "fragment1", more: true}, last))
	add(refusedAlone(frame{op: opPong, payload: "fragment1", more: true}, last))
	each([]frame{first, last}, func(p *peer) {
		p.want(text("fragment1fragment2"))
		p.close()
	})
	each([]frame{first, {op: opPing, payload: "ping payload"}, last}, func(p *peer) {
		p.want(pong("ping payload"), text("fragment1fragment2"))
		p.close()
	})
	each([]frame{{payload: "non-continuation payload"}, {op: opText, payload: hello}}, broken)
	each([]frame{{payload: "non-continuation payload", more: true}, {op: opText, payload: hello}}, broken)
	add(func(p *peer) {
		p.send(first, last, frame{payload: "fragment3", more: true}, frame{op: opText, payload: "fragment4"})
		p.want(text("fragment1fragment2"))
		broken(p)
	})
	for _, more := range []bool{true, false} {
		lost := []frame{{payload: "fragment1", more: more}, {op: opText, payload: "fragment2", more: true}, {payload: "fragment3"}}
		add(refusedAlone(slices.Concat(lost, lost)...))
	}
	add(refusedAlone(first, frame{op: opText, payload: "fragment2"}))
	for _, chop := range []int{1 << 20, 1} {
		add(func(p *peer) {
			part := func(i int, op byte, more bool) frame {
				return frame{op: op, payload: fmt.Sprintf("fragment%d", i), more: more}
			}
			p.chopped(chop, part(1, opText, true), part(2, 0, true), frame{op: opPing, payload: "pongme 1!"})
			p.want(pong("pongme 1!"))
			p.chopped(chop, part(3, 0, true), part(4, 0, true), frame{op: opPing, payload: "pongme 2!"}, part(5, 0, false))
			p.want(pong("pongme 2!"), text("fragment1fragment2fragment3fragment4fragment5"))
			p.close()
		})
	}
	return list
}

// closings is group 7. The last cases of 7.1 and 7.13 are left open there; the
// expectation here is ours: frames are answered in order, unknown codes refused.
func closings() []testCase {
	message := frame{op: opText, payload: "Hello World!"}
	after := func(frames ...frame) func(*peer) {
		return func(p *peer) {
			p.send(append([]frame{closing(1000)}, frames...)...)
			p.answers(1000)
		}
	}
	list := []testCase{
		{id: "7.1.1", run: func(p *peer) {
			p.send(message)
			p.want(text("Hello World!"))
			p.close()
		}},
		{id: "7.1.2", run: after(frame{op: opClose})},
		{id: "7.1.3", run: after(frame{op: opPing})},
		{id: "7.1.4", run: after(message)},
		{id: "7.1.5", run: func(p *peer) {
			p.send(frame{op: opText, payload: "fragment1", more: true}, closing(1000), frame{payload: "fragment2"})
			p.answers(1000)
		}},
		{id: "7.1.6", run: func(p *peer) {
			big := strings.Repeat("BAsd7&jh23", 256<<10/10+1)[:256<<10]
			p.send(frame{op: opText, payload: big}, message, closing(1000), frame{op: opPing})
			p.want(text(big), text("Hello World!"))
			p.answers(1000)
		}},
		{id: "7.3.1", run: func(p *peer) {
			p.send(frame{op: opClose})
			p.answers(0)
		}},
		{id: "7.3.2", run: refusedAlone(frame{op: opClose, payload: "a"})},
		{id: "7.3.3", run: after()},
		{id: "7.3.4", run: closeWith("\x03\xe8Hello World!", 1000)},
		{id: "7.3.5", run: closeWith("\x03\xe8"+strings.Repeat("*", 123), 1000)},
		{id: "7.3.6", run: refusedAlone(frame{op: opClose, payload: "\x03\xe8" + strings.Repeat("*", 124)})},
		{id: "7.5.1", run: func(p *peer) {
			p.send(frame{op: opClose, payload: "\x03\xe8κόσμε\xed\xa0\x80edited"})
			p.closes(1007)
		}},
	}
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		list = append(list, testCase{id: fmt.Sprintf("7.7.%d", i+1), run: closeWith(closing(code).payload, code)})
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		list = append(list, testCase{id: fmt.Sprintf("7.9.%d", i+1), run: refusedAlone(closing(code))})
	}
	for i, code := range []int{5000, 65535} {
		list = append(list, testCase{id: fmt.Sprintf("7.13.%d", i+1), run: refusedAlone(closing(code))})
	}
	return list
}

func closeWith(payload string, answer int) func(*peer) {
	return func(p *peer) {
		p.send(frame{op: opClose, payload: payload})
		p.answers(answer)
	}
}
