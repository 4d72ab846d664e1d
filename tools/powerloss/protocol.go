package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A child says one line after the other. Each goes out in one write of at most
// PIPE_BUF bytes, so lines of several goroutines never mix and none is cut short;
// only what it finds when it opens the store goes out in larger pieces.
type lineKind byte

const (
	linePropose      lineKind = 'p' // log life n: about to be proposed
	lineAcked        lineKind = 'a' // log seq life n hash
	lineErase        lineKind = 'x' // log upTo: about to be proposed
	lineErased       lineKind = 'y' // log upTo: acknowledged
	lineEntry        lineKind = 'e' // log seq life n hash: found by reading
	lineHead         lineKind = 'h' // log head: all of the log's entries were said
	lineReady        lineKind = 'r' // everything found was said; now it proposes
	lineStats        lineKind = 's' // see stats
	lineFatal        lineKind = 'f' // text: the engine stopped itself
	lineFailed       lineKind = 'o' // text: the store did not open, or could not be read or closed
	lineInconsistent lineKind = 'b' // text: rows, logs and pages contradict each other
	lineClosed       lineKind = 'c' // the store was closed cleanly
)

// numbers is how many numbers follow a kind, -1: a text does.
var numbers = map[lineKind]int{
	linePropose: 3, lineAcked: 5, lineErase: 2, lineErased: 2, lineEntry: 5, lineHead: 2,
	lineReady: 0, lineStats: len(stats{}), lineFatal: -1, lineFailed: -1, lineInconsistent: -1, lineClosed: 0,
}

const (
	numbersMax   = 8
	lineBytesMax = 2048 // below PIPE_BUF
)

// stats are counters of one life, in the order of statNames.
type stats [6]uint64

const (
	statCheckpoints = iota
	statMerges
	statErasures
	statRecycled // files of the write-ahead log that were used again
	statFrames
	statStalls
)

var statNames = [len(stats{})]string{"checkpoints", "merges", "erasures", "recycled_files", "frames", "stalls"}

// line is a parsed line.
type line struct {
	kind lineKind
	v    [numbersMax]uint64
	text string
}

// appendLine is the one writer of the format.
func appendLine(dst []byte, kind lineKind, text string, v ...uint64) []byte {
	dst = append(dst, byte(kind))
	for _, n := range v {
		dst = strconv.AppendUint(append(dst, ' '), n, 10)
	}
	if text != "" {
		quoted := strconv.AppendQuoteToASCII(nil, text[:min(len(text), lineBytesMax/8)])
		dst = append(append(dst, ' '), quoted...)
	}
	return append(dst, '\n')
}

var errLine = errors.New("a child said what it can't say")

// parseLine takes a line without its end.
func parseLine(s string) (l line, err error) {
	if s == "" {
		return l, fmt.Errorf("%w: an empty line", errLine)
	}
	l.kind = lineKind(s[0])
	want, known := numbers[l.kind]
	if !known {
		return l, fmt.Errorf("%w: %.80q", errLine, s)
	}
	if want < 0 {
		if l.text, err = strconv.Unquote(strings.TrimPrefix(s[1:], " ")); err != nil {
			return l, fmt.Errorf("%w: %.80q", errLine, s)
		}
		return l, nil
	}
	fields := strings.Split(s, " ")[1:]
	if len(fields) != want || len(fields) > 0 && s[1] != ' ' || want == 0 && len(s) != 1 {
		return l, fmt.Errorf("%w: %.80q", errLine, s)
	}
	for i, f := range fields {
		if l.v[i], err = strconv.ParseUint(f, 10, 64); err != nil {
			return l, fmt.Errorf("%w: %.80q", errLine, s)
		}
	}
	return l, nil
}
