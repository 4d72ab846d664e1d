package client

import (
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// Whatever order, repetition and loss the entries come with, the application
// sees each sequence once and in order, and a fetch is asked for at every hole.
func TestFeedAgainstAModelLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// The log: entries, some of them skip ranges of one to five sequences.
		var log []godwit.Entry
		head := godwit.Seq(0)
		for range rapid.IntRange(1, 60).Draw(t, "positions") {
			e := godwit.Entry{Seq: head + 1}
			if rapid.IntRange(0, 5).Draw(t, "is skip") == 0 {
				e.SkipTo = e.Seq + godwit.Seq(rapid.IntRange(0, 4).Draw(t, "length"))
			}
			head = end(&e)
			log = append(log, e)
		}
		f := feed{epoch: "e", owed: head}
		seen := godwit.Seq(0)
		take := func() {
			item, ok := f.next()
			if !ok {
				return
			}
			if item.Entry.Seq != seen+1 {
				t.Fatalf("entry %d after %d", item.Entry.Seq, seen)
			}
			seen = end(&item.Entry)
			if item.At != (Position{"e", seen}) {
				t.Fatalf("position %v after %d", item.At, seen)
			}
			f.take()
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "take") == 0 {
				take()
			} else {
				f.offer(log[rapid.IntRange(0, len(log)-1).Draw(t, "which")])
			}
			if len(f.ready) > readyMax || len(f.ahead) > aheadMax {
				t.Fatalf("holds %d and %d", len(f.ready), len(f.ahead))
			}
		}
		for seen < head { // now a server that answers fetches, two entries a page
			since, owed := f.missing(2)
			if f.cursor < head && !owed {
				t.Fatalf("nothing is asked for at %d of %d", f.cursor, head)
			}
			for i, given := 0, 0; owed && i < len(log) && given < 2; i++ {
				if end(&log[i]) > since {
					f.offer(log[i])
					given++
				}
			}
			take()
		}
		if since, owed := f.missing(2); owed || since != head || len(f.ahead) != 0 {
			t.Fatalf("at the end: cursor %d, owed %v, %d ahead", since, owed, len(f.ahead))
		}
	})
}

func TestFeedTurnsAwayWhatItCannotHoldAndOwesIt(t *testing.T) {
	f := feed{epoch: "e"}
	big := make([]byte, 1<<20)
	for seq := range godwit.Seq(10) {
		f.offer(godwit.Entry{Seq: seq + 1, Msg: godwit.Message{Body: big}})
	}
	if len(f.ready) != 4 || f.cursor != 4 || f.readyBytes != readyBytesMax {
		t.Fatalf("holds %d items, %d bytes, cursor %d", len(f.ready), f.readyBytes, f.cursor)
	}
	if _, owed := f.missing(1); owed {
		t.Fatal("asks for what has no room")
	}
	f.take()
	if since, owed := f.missing(1); !owed || since != 4 {
		t.Fatalf("asks since %d, want 4", since)
	}
	f = feed{epoch: "e"}
	for seq := range godwit.Seq(readyMax + 1) {
		f.offer(godwit.Entry{Seq: seq + 1})
	}
	f.take()
	if since, owed := f.missing(1); !owed || since != readyMax {
		t.Fatalf("the last one turned away is not asked for: %d, %v", since, owed)
	}
	f = feed{epoch: "e"}
	for seq := godwit.Seq(2 * aheadMax); seq > 1; seq-- {
		f.offer(godwit.Entry{Seq: seq})
	}
	if len(f.ahead) != aheadMax || f.ahead[0].Seq != 2 || f.owed != 2*aheadMax {
		t.Fatalf("%d ahead from %d, owed %d", len(f.ahead), f.ahead[0].Seq, f.owed)
	}
}

func TestJumpsWithNothingBetweenBecomeOne(t *testing.T) {
	f := feed{epoch: "e1", cursor: 5}
	f.offer(godwit.Entry{Seq: 6})
	f.jump("epoch", Position{"e2", 3})
	f.jump("too_far", Position{"e2", 9000})
	f.take()
	item, _ := f.next()
	if len(f.ready) != 1 || *item.Gap != (Discontinuity{Reason: "too_far", From: Position{"e1", 6}, To: Position{"e2", 9000}}) {
		t.Fatalf("%d items, gap %+v", len(f.ready), item.Gap)
	}
}
