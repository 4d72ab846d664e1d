package main

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

// messageBytes is the size of every message's text.
const messageBytes = 128

// phase is a part of a workload. Which user gets its message n and what stands
// in it are pure functions, so that a process that did not write the messages
// can still tell what must be there.
type phase struct {
	Seed   uint64
	Users  uint32
	Spread bool   // every user once, in a scattered order, then again; else random users
	Count  uint64 // messages written: 0 up to, not including, Count
	// Appenders wrote them; the contents do not depend on it.
	Appenders int
}

// spreadPrime does not divide any number of users, so that its multiples visit
// every user before one comes again.
const spreadPrime = 2_654_435_761

// user returns who gets message n.
func (p *phase) user(n uint64) uint32 {
	if p.Spread {
		return uint32(n % uint64(p.Users) * spreadPrime % uint64(p.Users))
	}
	return uint32(mix(p.Seed^n*0x9e3779b97f4a7c15) % uint64(p.Users))
}

// text returns message n. It must not be changed.
func (p *phase) text(n uint64) []byte {
	c := corpus()
	at := mix(p.Seed+n) % uint64(len(c)-messageBytes)
	return c[at : at+messageBytes : at+messageBytes]
}

// headsOf returns how many messages each user got.
func headsOf(phases []phase, users uint32) []uint32 {
	heads := make([]uint32, users)
	for i := range phases {
		for n := range phases[i].Count {
			heads[phases[i].user(n)]++
		}
	}
	return heads
}

// mix is the finisher of splitmix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// corpusBytes: so many that a compressed block hardly ever meets a text twice.
// Messages are cut from a text made once, because making each costs more CPU
// than storing it.
const corpusBytes = 8 << 20

var corpus = sync.OnceValue(func() []byte { return makeCorpus(corpusBytes) })

// wordList holds English words, the most frequent first.
//
//go:embed words.txt
var wordList string

// pickBits: a word is picked by so many random bits.
const pickBits = 16

// rareEvery: after so many times four words comes one that no list has, as
// numbers, names and slips do in chat.
const rareEvery = 3

// makeCorpus returns words in the frequencies of natural text. zstd shrinks
// 16 KiB of it to 1/2.1, as it does with chat.
func makeCorpus(size int) []byte {
	words := strings.Fields(wordList)
	picks := makePicks(len(words))
	text := make([]byte, 0, size+256)
	for state := uint64(1); len(text) < size; {
		state += 0x9e3779b97f4a7c15
		bits := mix(state)
		for range 64 / pickBits {
			text = append(text, words[picks[bits&(1<<pickBits-1)]]...)
			text = append(text, ' ')
			bits >>= pickBits
		}
		if rare := mix(^state); rare%rareEvery == 0 {
			text = strconv.AppendUint(text, rare>>44, 36)
			text = append(text, ' ')
		}
	}
	return text[:size]
}

// makePicks gives each of n ranks a share of the picks by the law of Zipf and
// Mandelbrot.
func makePicks(n int) []uint16 {
	weight := func(rank int) float64 { return 1 / (float64(rank) + 2.7) }
	total := 0.0
	for rank := range n {
		total += weight(rank)
	}
	picks := make([]uint16, 1<<pickBits)
	sum, at := 0.0, 0
	for rank := range n {
		sum += weight(rank)
		for ; at < len(picks) && float64(at) < sum/total*float64(len(picks)); at++ {
			picks[at] = uint16(rank)
		}
	}
	return picks
}
