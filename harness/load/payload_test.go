package load

import (
	"testing"

	"pgregory.net/rapid"
)

func TestPayloadComesBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Header{
			Run: rapid.Uint64().Draw(t, "run"), Sender: rapid.Uint32().Draw(t, "sender"),
			Number: rapid.Uint32().Draw(t, "number"), Due: rapid.Int64().Draw(t, "due"),
		}
		body := rapid.String().Draw(t, "body")
		text := appendPayload([]byte("before"), want, body)[len("before"):]
		if len(text) != payloadOverhead+len(body) {
			t.Fatalf("%d bytes for a body of %d", len(text), len(body))
		}
		got, ok := parsePayload(text)
		if !ok || got != want {
			t.Fatalf("got %+v, %t, want %+v", got, ok, want)
		}
		i := rapid.IntRange(0, len(text)-1).Draw(t, "damaged byte")
		text[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "damage"))
		if _, ok := parsePayload(text); ok {
			t.Fatalf("damage at byte %d was not noticed", i)
		}
	})
}

func TestForeignTextIsNoPayload(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.Byte()).Draw(t, "text")
		if _, ok := parsePayload(text); ok {
			t.Fatalf("%q was taken for a payload", text)
		}
		if _, ok := parsePayload(append([]byte(payloadMark), text...)); ok {
			t.Fatalf("%q behind the mark was taken for a payload", text)
		}
	})
}
