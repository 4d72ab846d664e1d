package main

import (
	"slices"
	"strings"
	"testing"
)

const (
	testSeed = 7
	testLog  = 1<<48 | 5
)

func name(life uint32, n uint64) entryID { return entryID{life, n} }

func foundAt(seq uint64, id entryID) found {
	hash, _ := bodyHash(nil, testSeed, testLog, id)
	return found{seq: seq, id: id, hash: hash}
}

// sequenceOf are entries from a sequence on.
func sequenceOf(first uint64, ids ...entryID) (entries []found) {
	for i, id := range ids {
		entries = append(entries, foundAt(first+uint64(i), id))
	}
	return entries
}

// testModel has six entries proposed by life 1, the first four acknowledged.
func testModel(t *testing.T) *model {
	t.Helper()
	m := newModel(testSeed)
	for n := uint64(1); n <= 6; n++ {
		m.propose(testLog, name(1, n))
	}
	for n := uint64(1); n <= 4; n++ {
		if bad := m.acked(testLog, foundAt(n, name(1, n))); len(bad) > 0 {
			t.Fatal(bad)
		}
	}
	return m
}

func kindsOf(violations []violation) (out []string) {
	for _, v := range violations {
		if !slices.Contains(out, v.kind) {
			out = append(out, v.kind)
		}
	}
	slices.Sort(out)
	return out
}

func TestModelFindsWhatIsWrong(t *testing.T) {
	id := func(n uint64) entryID { return name(1, n) }
	f := func(what string, head uint64, entries []found, want ...string) {
		t.Helper()
		got := kindsOf(testModel(t).compare(testLog, head, entries))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("what was acknowledged", 4, sequenceOf(1, id(1), id(2), id(3), id(4)))
	f("and what was in flight", 6, sequenceOf(1, id(1), id(2), id(3), id(4), id(5), id(6)))
	f("nothing", 0, nil, kindLost)
	f("the newest is gone", 3, sequenceOf(1, id(1), id(2), id(3)), kindLost)
	f("the newest is gone, its sequence is not", 4, sequenceOf(1, id(1), id(2), id(3)), kindHead, kindLost)
	f("the oldest is gone", 4, sequenceOf(2, id(2), id(3), id(4)), kindLost, kindOrder)
	f("one in the middle is gone", 4, append(sequenceOf(1, id(1), id(2)), foundAt(4, id(4))), kindLost, kindOrder)
	f("one is gone, the others moved up", 3, sequenceOf(1, id(1), id(3), id(4)), kindLost, kindOrder)
	f("one is there twice", 5, sequenceOf(1, id(1), id(2), id(3), id(4), id(4)), kindDuplicate, kindOrder)
	f("one sequence is there twice", 4, append(sequenceOf(1, id(1), id(2), id(3), id(4)), foundAt(4, id(4))), kindDuplicate)
	f("two have changed places", 4, sequenceOf(1, id(1), id(3), id(2), id(4)), kindOrder)
	f("those in flight have changed places", 6, sequenceOf(1, id(1), id(2), id(3), id(4), id(6), id(5)), kindOrder)
	f("one in flight is gone, a later one is not", 5, sequenceOf(1, id(1), id(2), id(3), id(4), id(6)), kindOrder)
	f("never proposed", 5, sequenceOf(1, id(1), id(2), id(3), id(4), name(1, 7)), kindPhantom)
	f("of a life that never was", 5, sequenceOf(1, id(1), id(2), id(3), id(4), name(2, 1)), kindPhantom)
	f("without a name", 5, sequenceOf(1, id(1), id(2), id(3), id(4), name(0, 0)), kindPhantom)
	f("the head is behind", 3, sequenceOf(1, id(1), id(2), id(3), id(4)), kindHead)
	f("the head is ahead", 9, sequenceOf(1, id(1), id(2), id(3), id(4)), kindHead)
	altered := sequenceOf(1, id(1), id(2), id(3), id(4))
	altered[1].hash++
	f("other bytes", 4, altered, kindAltered)
}

// What a reader was served must be there after the next power failure, too.
func TestModelHoldsAStoreToWhatItServed(t *testing.T) {
	m := testModel(t)
	five := sequenceOf(1, name(1, 1), name(1, 2), name(1, 3), name(1, 4), name(1, 5))
	if bad := m.compare(testLog, 5, five); len(bad) > 0 {
		t.Fatal(bad)
	}
	if got := kindsOf(m.compare(testLog, 4, five[:4])); !slices.Equal(got, []string{kindLost}) {
		t.Fatalf("served and gone: %v", got)
	}
}

func TestModelKnowsLives(t *testing.T) {
	f := func(what string, second []entryID, want ...string) {
		t.Helper()
		m := testModel(t)
		ids := []entryID{name(1, 1), name(1, 2), name(1, 3), name(1, 4)}
		m.compare(testLog, 4, sequenceOf(1, ids...))
		m.propose(testLog, name(2, 2))
		m.propose(testLog, name(3, 1))
		ids = append(ids, second...)
		if got := kindsOf(m.compare(testLog, uint64(len(ids)), sequenceOf(1, ids...))); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("the next life", []entryID{name(2, 1), name(2, 2)})
	f("a life that left nothing", []entryID{name(3, 1)})
	f("a life without its first", []entryID{name(2, 2)}, kindOrder)
	f("left unfinished, and back", []entryID{name(2, 1), name(1, 5)}, kindOrder)
	f("lives have changed places", []entryID{name(3, 1), name(2, 1)}, kindOrder)
}

func TestModelErases(t *testing.T) {
	all := sequenceOf(1, name(1, 1), name(1, 2), name(1, 3), name(1, 4))
	f := func(what string, prepare func(*model), head uint64, entries []found, want ...string) {
		t.Helper()
		m := testModel(t)
		prepare(m)
		if got := kindsOf(m.compare(testLog, head, entries)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	none := func(*model) {}
	proposed := func(m *model) { m.erase(testLog, 2) }
	acked := func(m *model) { m.erase(testLog, 2); m.erasedAcked(testLog, 2) }
	whole := func(m *model) { m.erase(testLog, 4); m.erasedAcked(testLog, 4) }
	f("acknowledged", acked, 4, all[2:])
	f("acknowledged and not done", acked, 4, all, kindUnerased)
	f("acknowledged and half done", acked, 4, all[1:], kindUnerased)
	f("acknowledged and too much done", acked, 4, all[3:], kindLost, kindOrder)
	f("in flight, not done", proposed, 4, all)
	f("in flight, done", proposed, 4, all[2:])
	f("in flight, half done", proposed, 4, all[1:], kindLost, kindOrder)
	f("not asked for", none, 4, all[2:], kindLost, kindOrder)
	f("everything", whole, 4, nil)
	f("everything, the head as well", whole, 0, nil, kindHead)

	m := testModel(t)
	proposed(m)
	m.compare(testLog, 4, all[2:])
	if got := kindsOf(m.compare(testLog, 4, all)); !slices.Contains(got, kindUnerased) {
		t.Errorf("an erasure that was seen is undone: %v", got)
	}
}

func TestModelJudgesAcknowledgements(t *testing.T) {
	f := func(what string, ack found, want ...string) {
		t.Helper()
		if got := kindsOf(testModel(t).acked(testLog, ack)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	f("the next", foundAt(5, name(1, 5)))
	f("never proposed", foundAt(5, name(1, 7)), kindPhantom)
	f("sequence 0", foundAt(0, name(1, 5)), kindPhantom)
	f("a sequence that is taken", foundAt(4, name(1, 5)), kindOrder)
	f("another hash", found{seq: 5, id: name(1, 5)}, kindAltered)
}

// say is what a child says, as one text.
func say(lines ...[]byte) *strings.Reader {
	var text strings.Builder
	for _, l := range lines {
		text.Write(l)
	}
	return strings.NewReader(text.String())
}
