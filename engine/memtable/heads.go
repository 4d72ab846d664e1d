package memtable

import (
	"fmt"
	"iter"

	"github.com/godwit-im/godwit"
)

// Bounds of what a Table and a Heads can hold.
const (
	// SeqMax is the largest sequence of a log.
	SeqMax godwit.Seq = 1<<40 - 1
	// GenerationMax is the newest generation of a group.
	GenerationMax = 1<<24 - 1
)

// Heads is the newest sequence and the newest generation of every log of a
// group, in at most 20 bytes per log once there are many. The zero value is
// empty, holds no memory and is ready for use.
type Heads struct{ slots slots }

// Head is what Heads knows of a log.
type Head struct {
	Seq        godwit.Seq
	Generation uint32 // of the newest segment that holds an entry of it, 0: none
}

// Get returns the head of log.
func (h *Heads) Get(log godwit.LogID) (seq godwit.Seq, generation uint32, ok bool) {
	v := h.slots.get(uint64(log))
	return godwit.Seq(v >> 24), uint32(v & GenerationMax), v != 0
}

// Set sets the head of log. seq is 1 to SeqMax, generation 0 to GenerationMax.
func (h *Heads) Set(log godwit.LogID, seq godwit.Seq, generation uint32) {
	v := joinSeq(log, seq, generation)
	*h.slots.at(uint64(log)) = v
}

// Next takes the next sequence of log, whose entry goes to generation, and
// returns the generation of the entry before it, 0: it is the first.
func (h *Heads) Next(log godwit.LogID, generation uint32) (seq godwit.Seq, before uint32) {
	at := h.slots.at(uint64(log))
	seq, before = godwit.Seq(*at>>24)+1, uint32(*at&GenerationMax)
	*at = joinSeq(log, seq, generation)
	return seq, before
}

// Raise is Set, except that of the sequence and of the generation the larger one
// stays: heads are rebuilt with it from segments in any order.
func (h *Heads) Raise(log godwit.LogID, seq godwit.Seq, generation uint32) {
	v := joinSeq(log, seq, generation)
	at := h.slots.at(uint64(log))
	*at = max(*at&^GenerationMax, v&^GenerationMax) | max(*at&GenerationMax, v&GenerationMax)
}

func joinSeq(log godwit.LogID, seq godwit.Seq, generation uint32) uint64 {
	if seq == 0 || seq > SeqMax || generation > GenerationMax {
		panic(fmt.Sprintf("BUG: head of log %#x is sequence %d, generation %d", uint64(log), seq, generation))
	}
	return uint64(seq)<<24 | uint64(generation)
}

// Len returns the number of logs.
func (h *Heads) Len() int { return h.slots.n }

// Bytes returns the memory held.
func (h *Heads) Bytes() int64 { return h.slots.bytes() }

// All yields every log and its head. The order looks random, but depends on
// which logs there are alone: equal contents come in equal order.
func (h *Heads) All() iter.Seq2[godwit.LogID, Head] {
	return func(yield func(godwit.LogID, Head) bool) {
		for key, v := range h.slots.all() {
			if !yield(godwit.LogID(key), Head{Seq: godwit.Seq(v >> 24), Generation: uint32(v & GenerationMax)}) {
				return
			}
		}
	}
}
