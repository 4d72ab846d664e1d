package edge

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestOutboxKeepsEachSessionsBytesInOrder: however pieces of others and of the
// loop's own making come in between, and however often own grows.
func TestOutboxKeepsEachSessionsBytesInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o outbox
		sessions := make([]session, 3)
		want := make([][]byte, len(sessions))
		for n := range rapid.IntRange(1, 60).Draw(t, "pieces") {
			i := rapid.IntRange(0, len(sessions)-1).Draw(t, "session")
			b := bytes.Repeat(fmt.Appendf(nil, "%d.", n), rapid.IntRange(0, 40).Draw(t, "size"))
			if rapid.Bool().Draw(t, "own") {
				dst, start := o.begin()
				o.end(&sessions[i], append(dst, b...), start)
			} else {
				o.emit(&sessions[i], b)
			}
			want[i] = append(want[i], b...)
		}
		for i := range sessions {
			var got []byte
			for at := sessions[i].outHead; at != 0; at = o.pieces[at-1].next {
				got = append(got, o.pieces[at-1].b...)
			}
			if !bytes.Equal(got, want[i]) {
				t.Fatalf("session %d gets %q, want %q", i, got, want[i])
			}
		}
	})
}

// TestRepliesMadeOnTheLoopAreOnePiece: they lie side by side already, so the
// write needs no copy of them.
func TestRepliesMadeOnTheLoopAreOnePiece(t *testing.T) {
	var o outbox
	var s session
	for range 100 {
		dst, start := o.begin()
		o.end(&s, append(dst, "a reply"...), start)
	}
	if len(o.pieces) != 1 || len(o.pieces[0].b) != 100*len("a reply") {
		t.Errorf("%d pieces", len(o.pieces))
	}
}
