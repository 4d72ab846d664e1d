package conformance

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// textCases is group 6.
func textCases() (list []testCase) {
	add := func(id string, run func(*peer)) { list = append(list, testCase{id: "6." + id, run: run}) }
	echoed := func(id, want string, frames ...frame) {
		add(id, func(p *peer) {
			p.send(frames...)
			p.want(text(want))
			p.close()
		})
	}
	refused := func(id string, frames ...frame) {
		add(id, func(p *peer) {
			p.send(frames...)
			p.closes(1007)
		})
	}
	mixed := "Hello-µ@ßöäüàá-UTF-8!!"
	wrong := "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"
	echoed("1.1", "", frame{op: opText})
	echoed("1.2", "", frame{op: opText, more: true}, frame{more: true}, frame{})
	echoed("1.3", "middle frame payload", frame{op: opText, more: true}, frame{payload: "middle frame payload", more: true}, frame{})
	echoed("2.1", mixed, frame{op: opText, payload: mixed})
	echoed("2.2", mixed, frame{op: opText, payload: "Hello-µ@ßöä", more: true}, frame{payload: "üàá-UTF-8!!"})
	echoed("2.3", mixed, byteFrames(mixed)...)
	echoed("2.4", wrong[:11], byteFrames(wrong[:11])...)
	refused("3.1", frame{op: opText, payload: wrong})
	refused("3.2", byteFrames(wrong)...)
	for i, parts := range [][2]int{{11, 15}, {12, 13}} {
		add(fmt.Sprintf("4.%d", i+1), func(p *peer) { failFastFrames(p, parts[0], parts[1]) })
		add(fmt.Sprintf("4.%d", i+3), func(p *peer) { failFastChops(p, parts[0], parts[1]) })
	}
	for group, sequences := range textSequences() {
		for i, s := range sequences {
			id := fmt.Sprintf("%d.%d", group+5, i+1)
			if s.valid {
				echoed(id, s.payload, frame{op: opText, payload: s.payload})
			} else {
				refused(id, frame{op: opText, payload: s.payload})
			}
		}
	}
	return list
}

// tooFar is a text whose 13th byte makes it wrong.
const tooFar = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited"

// failFastFrames sends the text in three frames and holds the third back: the
// server must refuse without it. A pong shows that it took the first.
func failFastFrames(p *peer, a, b int) {
	p.send(frame{op: opText, payload: tooFar[:a], more: true}, frame{op: opPing, payload: "still there?"})
	p.want(pong("still there?"))
	p.send(frame{payload: tooFar[a:b], more: true})
	failedFast(p, func() { p.send(frame{payload: tooFar[b:]}) })
}

// failFastChops does the same within one frame, of which it holds the end back.
func failFastChops(p *peer, a, b int) {
	whole := p.encode(frame{op: opText, payload: tooFar})
	head := len(whole) - len(tooFar)
	p.write(whole[:head+a])
	p.write(whole[head+a : head+b])
	failedFast(p, func() { p.write(whole[head+b:]) })
}

// failedFast expects the close before the rest was sent. A server that keeps
// silent gets the rest, and is not strict if it refuses then.
func failedFast(p *peer, rest func()) {
	got := p.next()
	if got.kind == "nothing" {
		p.extend()
		rest()
		if got = p.next(); got.code == 1007 {
			nonStrict("refused only at the end of the message")
		}
	}
	if got.kind != "close" || got.code != 1007 {
		fail("%v, want a close with 1007", got)
	}
	p.send(closing(1007))
	p.end()
}

func byteFrames(s string) (frames []frame) {
	for i := range len(s) {
		f := frame{payload: s[i : i+1], more: i < len(s)-1}
		if i == 0 {
			f.op = opText
		}
		frames = append(frames, f)
	}
	return frames
}

type sequence struct {
	payload string
	valid   bool
}

// textSequences are 6.5 to 6.23, after Markus Kuhn's UTF-8 decoder stress test.
//
//tidy:long a table
func textSequences() (groups [][]sequence) {
	valid := func(list ...string) (out []sequence) {
		for _, s := range list {
			out = append(out, sequence{s, true})
		}
		return out
	}
	invalid := func(list ...string) (out []sequence) {
		for _, s := range list {
			out = append(out, sequence{s, false})
		}
		return out
	}
	add := func(parts ...[]sequence) {
		var group []sequence
		for _, p := range parts {
			group = append(group, p...)
		}
		groups = append(groups, group)
	}
	word := tooFar[:11]
	var prefixes []sequence
	for i := range len(word) {
		prefixes = append(prefixes, sequence{word[:i+1], utf8.ValidString(word[:i+1])})
	}
	var continuations strings.Builder
	for c := 0x80; c < 0xbf; c++ {
		continuations.WriteByte(byte(c))
	}
	var starts []string
	for _, r := range [][2]int{{0xc0, 0xdf}, {0xe0, 0xef}, {0xf0, 0xf7}, {0xf8, 0xfb}, {0xfc, 0xfd}} {
		var b strings.Builder
		for c := r[0]; c < r[1]; c++ {
			b.Write([]byte{byte(c), ' '})
		}
		starts = append(starts, b.String())
	}
	missing := []string{
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
	}
	noncharacters := []string{"\xef\xbf\xbe", "\xef\xbf\xbf"}
	for plane := rune(0x1ffff); plane <= 0x10ffff; plane += 0x10000 {
		noncharacters = append(noncharacters, string(plane-1), string(plane))
	}

	add(valid("hello$world", "hello\xc2\xa2world", "hello\xe2\x82\xacworld", "hello\xf0\xa4\xad\xa2world", word))
	add(prefixes)
	add(valid("\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"))
	add(invalid("\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"))
	add(valid("\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"))
	add(invalid("\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"))
	add(valid("\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf"), invalid("\xf4\x90\x80\x80"))
	add(invalid("\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", continuations.String()))
	add(invalid(starts...))
	add(invalid(missing...))
	add(invalid(strings.Join(missing, "")))
	add(invalid("\xfe", "\xff", "\xfe\xfe\xff\xff"))
	add(invalid("\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"))
	add(invalid("\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"))
	add(invalid("\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"))
	add(invalid("\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"))
	add(invalid(
		"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
		"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"))
	add(valid(noncharacters...))
	add(valid("\xef\xbf\xb9", "\xef\xbf\xba", "\xef\xbf\xbb", "\xef\xbf\xbc", "\xef\xbf\xbd", "\xef\xbf\xbe", "\xef\xbf\xbf"))
	return groups
}
