package edge

import (
	"testing"
	"unsafe"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

func TestSessionIsSmall(t *testing.T) {
	const maxBytes = 300
	size := unsafe.Sizeof(session{}) + unsafe.Sizeof(wheelNode{})
	t.Logf("%d bytes a connection", size)
	if size > maxBytes {
		t.Fatalf("a session with its timer takes %d bytes, want at most %d", size, maxBytes)
	}
}

func TestSessionIDHoldsItsParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		to := rapid.SampledFrom([]form{0, formProto, formDeflate, formProto | formDeflate}).Draw(t, "form")
		loop := rapid.IntRange(0, loopsMax-1).Draw(t, "loop")
		slot := rapid.Uint32Range(0, slotsMax-1).Draw(t, "slot")
		gen := rapid.Uint32Range(1, genMax).Draw(t, "gen")
		id := makeID(to, loop, slot, gen)
		if idForm(id) != to || idLoop(id) != loop || idSlot(id) != slot || idGen(id) != gen {
			t.Fatalf("%x does not hold %v %d %d %d", id, to, loop, slot, gen)
		}
	})
}

func TestSessionIDIsNeverReused(t *testing.T) {
	var table table
	seen := map[godwit.SessionID]bool{}
	for range 3 * chunkSessions {
		s, _ := table.take()
		id := makeID(formOf(godwit.EncodingJSON), 0, s.slot, s.gen)
		if seen[id] || id == 0 {
			t.Fatalf("id %x came twice", id)
		}
		seen[id] = true
		if table.find(id) != s {
			t.Fatal("an open session is not found")
		}
		table.give(s)
		if table.find(id) != nil {
			t.Fatal("a session that is gone is found")
		}
	}
	s, _ := table.take()
	s.gen = genMax
	slot := s.slot
	table.give(s)
	for range chunkSessions {
		if s, _ := table.take(); s.slot == slot {
			t.Fatal("a slot without generations left was used again")
		}
	}
}
