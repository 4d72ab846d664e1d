package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestLinesAreReadAsTheyWereWritten(t *testing.T) {
	f := func(kind lineKind, text string, v ...uint64) {
		t.Helper()
		raw := appendLine(nil, kind, text, v...)
		want := line{kind: kind, text: text}
		copy(want.v[:], v)
		got, err := parseLine(strings.TrimSuffix(string(raw), "\n"))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", raw, got, err)
		}
	}
	f(linePropose, "", 1, 2, 3)
	f(lineAcked, "", 1, 2, 3, 4, 1<<64-1)
	f(lineErase, "", 1, 2)
	f(lineErased, "", 1, 2)
	f(lineEntry, "", 1, 2, 3, 4, 5)
	f(lineHead, "", 1, 2)
	f(lineReady, "")
	f(lineClosed, "")
	f(lineStats, "", 1, 2, 3, 4, 5, 6)
	f(lineFatal, "two\nlines, \"quoted\", \x00 and ä")
}

// A write of at most PIPE_BUF bytes is not mixed with others.
func TestLinesFitAnAtomicWrite(t *testing.T) {
	if n := len(appendLine(nil, lineFatal, strings.Repeat("\xff\U0010ffff", 10000))); n > 4096 {
		t.Errorf("a line of %d bytes", n)
	}
}

func TestWhatIsNoLineIsRefused(t *testing.T) {
	for _, s := range []string{
		"", "z", "r ", "r 1", "rr", "p 1 2", "p 1 2 3 4", "p 1 2 x", "p1 2 3", "p 1 2 -3", "p 1  2", "a 1 2 3 4 18446744073709551616",
		"f", "f text", `f "half`, "panic: runtime error",
	} {
		if l, err := parseLine(s); !errors.Is(err, errLine) {
			t.Errorf("%q: %+v, %v", s, l, err)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a 1 2 3 4 5")
	f.Add(`f "text"`)
	f.Add("r")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseLine(s)
		if err != nil {
			return
		}
		var v []uint64
		if n := numbers[l.kind]; n > 0 {
			v = l.v[:n]
		}
		again, err := parseLine(strings.TrimSuffix(string(appendLine(nil, l.kind, l.text, v...)), "\n"))
		if len(l.text) <= lineBytesMax/8 && numbers[l.kind] >= 0 && (err != nil || !reflect.DeepEqual(l, again)) {
			t.Fatalf("%q: %+v, then %+v, %v", s, l, again, err)
		}
	})
}
