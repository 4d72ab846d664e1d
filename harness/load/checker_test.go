package load

import (
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/harness/result"
)

const testRun = 0xabc

// script is a small run between users 10 and 11 as a list of what reaches the
// checker, so that a fault can be planted in any place.
type script struct {
	logs [2][]godwit.Entry // as delivered to 10 and 11
	back [2][]godwit.Entry // as history shows them
	fate map[uint32]outcome
}

// goodScript: user 10 sends messages 0..4 to user 11, all stored.
func goodScript() *script {
	s := &script{fate: map[uint32]outcome{}}
	for n := range uint32(5) {
		e := godwit.Entry{Seq: godwit.Seq(n + 1), Msg: godwit.Message{
			MID: godwit.MessageID{byte(n + 1)}, From: []byte("u10"), CID: []byte{'c', byte('0' + n)},
			Body: appendPayload(nil, Header{Run: testRun, Sender: 10, Number: n}, "hello"),
		}}
		for i := range s.logs {
			s.logs[i], s.back[i] = append(s.logs[i], e), append(s.back[i], e)
		}
		s.fate[n] = outcomeStored
	}
	return s
}

func (s *script) play() result.Verify {
	c := newChecker(testRun, 10, 2)
	for n := range uint32(5) {
		if c.offered(10) != n {
			panic("BUG: messages are not numbered from 0")
		}
	}
	for i := range uint32(2) {
		c.opened(10+i, 0)
		for e := range s.logs[i] {
			c.received(10+i, &s.logs[i][e])
		}
	}
	for n := range uint32(5) {
		c.answered(10, n, s.fate[n])
	}
	for i := range uint32(2) {
		c.readBack(10+i, 0, s.back[i])
		c.readBackEnd(10+i, s.back[i][len(s.back[i])-1].Seq)
	}
	return c.finish()
}

func TestCheckerAcceptsAGoodRun(t *testing.T) {
	s := goodScript()
	v := s.play()
	if !v.OK() || v.Acked != 5 || v.Delivered != 10 || v.ReadBack != 10 {
		t.Errorf("a good run gives %+v", v)
	}
	s = goodScript()
	s.fate[4] = outcomeOpen // never answered: it may be there
	if v := s.play(); !v.OK() || v.Acked != 4 {
		t.Errorf("an unanswered message that is stored gives %+v", v)
	}
}

// renumber makes the log's sequences 1, 2, 3 … again after a change in it.
func renumber(log []godwit.Entry) []godwit.Entry {
	for i := range log {
		log[i].Seq = godwit.Seq(i + 1)
	}
	return log
}

func TestCheckerCatchesEveryPlantedFault(t *testing.T) {
	f := func(name string, plant func(s *script), count func(v result.Verify) uint64, sentence string) {
		t.Helper()
		s := goodScript()
		plant(s)
		v := s.play()
		if v.OK() || count(v) == 0 || !strings.Contains(strings.Join(v.Problems, "\n"), sentence) {
			t.Errorf("%s: not caught, or as something else: %+v", name, v)
			return
		}
		t.Logf("caught: %s: %s", name, v.Problems[0])
	}
	lost := func(v result.Verify) uint64 { return v.Lost }
	duplicated := func(v result.Verify) uint64 { return v.Duplicated }
	reordered := func(v result.Verify) uint64 { return v.Reordered }
	gaps := func(v result.Verify) uint64 { return v.Gaps }
	foreign := func(v result.Verify) uint64 { return v.Foreign }

	f("the last message lost at the recipient", func(s *script) { s.logs[1], s.back[1] = s.logs[1][:4], s.back[1][:4] }, lost, "never came to user 11")
	f("the last message lost at the sender", func(s *script) { s.logs[0], s.back[0] = s.logs[0][:4], s.back[0][:4] }, lost, "never came to user 10")
	f("lost in the middle, sequences without a hole", func(s *script) {
		s.logs[1] = renumber(slices.Delete(s.logs[1], 2, 3))
		s.back[1] = slices.Clone(s.logs[1])
	}, lost, "message 2 of user 10 was acknowledged and never came")
	f("delivered, and lost from history", func(s *script) { s.back[1] = s.back[1][:4] }, lost, "ends at sequence 4")
	f("in history, never delivered", func(s *script) { s.logs[1] = s.logs[1][:4] }, lost, "never delivered")
	f("the same entry twice", func(s *script) { s.logs[1] = slices.Insert(s.logs[1], 3, s.logs[1][2]) }, duplicated, "got sequence 3 again")
	f("the same message under two sequences", func(s *script) {
		s.logs[1] = renumber(slices.Insert(s.logs[1], 3, s.logs[1][2]))
		s.back[1] = slices.Clone(s.logs[1])
	}, duplicated, "twice")
	f("two messages exchanged", func(s *script) {
		s.logs[1][1], s.logs[1][2] = s.logs[1][2], s.logs[1][1]
		s.back[1] = slices.Clone(renumber(s.logs[1]))
	}, reordered, "message 1 of user 10 after 2")
	f("a hole in the sequences", func(s *script) { s.logs[1] = slices.Delete(s.logs[1], 2, 3) }, gaps, "sequence 4 where 3 was next")
	f("a hole in history", func(s *script) { s.back[1] = slices.Delete(s.back[1], 2, 3) }, gaps, "the history of user 11 has sequence 4")
	f("another text in history", func(s *script) { s.back[1][2].Msg.Body = []byte("other") }, foreign, "another message at sequence 3")
	f("another message id in history", func(s *script) { s.back[1][2].Msg.MID[5]++ }, foreign, "another message at sequence 3")
	f("a damaged text", func(s *script) {
		body := slices.Clone(s.logs[1][2].Msg.Body)
		body[len(body)-1] ^= 1
		s.logs[1][2].Msg.Body = body
	}, foreign, "what nobody sent")
	f("a message of another run", func(s *script) {
		s.logs[1][2].Msg.Body = appendPayload(nil, Header{Run: testRun + 1, Sender: 10, Number: 2}, "hello")
	}, foreign, "what nobody sent")
	f("a message for somebody else", func(s *script) {
		s.logs[1][2].Msg.Body = appendPayload(nil, Header{Run: testRun, Sender: 12, Number: 2}, "hello")
	}, foreign, "what nobody sent")
	f("a number that was not sent", func(s *script) {
		s.logs[1][2].Msg.Body = appendPayload(nil, Header{Run: testRun, Sender: 10, Number: 9}, "hello")
	}, foreign, "has sent only 5")
	f("a refused message that comes", func(s *script) { s.fate[2] = outcomeRefused }, foreign, "was refused and came")
}
