package ws

import "unicode/utf8"

// textState carries UTF-8 validation over the parts of a message: the bytes of
// a rune that has begun but not ended. They are always a prefix of some valid
// rune. The zero value stands before the first byte.
type textState struct {
	begun [utf8.UTFMax - 1]byte
	n     uint8
}

// add reports whether b may follow what came before; false as soon as no
// continuation could make the text valid (RFC 6455 section 8.1).
func (t *textState) add(b []byte) bool {
	if t.n > 0 {
		var split [utf8.UTFMax]byte
		n := copy(split[:], t.begun[:t.n])
		for !utf8.FullRune(split[:n]) {
			if len(b) == 0 {
				t.n = uint8(copy(t.begun[:], split[:n]))
				return true
			}
			split[n] = b[0]
			b = b[1:]
			n++
		}
		if !utf8.Valid(split[:n]) {
			return false
		}
	}
	cut := lastRuneCut(b)
	t.n = uint8(copy(t.begun[:], b[cut:]))
	return utf8.Valid(b[:cut])
}

// whole reports whether the text may end here.
func (t *textState) whole() bool { return t.n == 0 }

// lastRuneCut returns where an unfinished rune at the end of b begins, len(b)
// if there is none. FullRune is false only for prefixes of valid runes.
func lastRuneCut(b []byte) int {
	for i := len(b) - 1; i >= 0 && i > len(b)-utf8.UTFMax; i-- {
		if !utf8.RuneStart(b[i]) {
			continue
		}
		if !utf8.FullRune(b[i:]) {
			return i
		}
		break
	}
	return len(b)
}
