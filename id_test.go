package godwit

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/bits"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestValidIDTakesItsAlphabetOnly(t *testing.T) {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@+~=|"
	for c := range 256 {
		if got, want := ValidID([]byte{byte(c)}), strings.IndexByte(alphabet, byte(c)) >= 0; got != want {
			t.Errorf("byte %#x: %v", c, got)
		}
	}
	f := func(id string, want error) {
		t.Helper()
		if got, err := ParseUserID(id); err != want || err == nil && string(got) != id {
			t.Errorf("%q: got %q, %v", id, got, err)
		}
	}
	f("", ErrBadID)
	f(strings.Repeat("a", IDBytesMax), nil)
	f(strings.Repeat("a", IDBytesMax+1), ErrBadID)
	f("u:bob", ErrBadID)
	f("bob\n", ErrBadID)
	f("bób", ErrBadID)
}

func TestParseConversationIDTakesShortAndFullForm(t *testing.T) {
	f := func(text string, want ConversationID, peer UserID) {
		t.Helper()
		got, err := ParseConversationID(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
		if p, ok := got.Peer(); p != peer || ok != (peer != "") {
			t.Errorf("%q: peer %q, %v", text, p, ok)
		}
	}
	f("bob", "u:bob", "bob")
	f("u:bob", "u:bob", "bob")
	f("g:42", "g:42", "")
	for _, bad := range []string{"", "u:", "g:", "x:bob", "u:u:bob", "u:b b", ":bob", "g:" + strings.Repeat("a", IDBytesMax+1)} {
		f(bad, "", "")
	}
}

func TestMessageIDHasOneText(t *testing.T) {
	for n := range 128 { // each bit alone
		var id MessageID
		id[n/8] = 1 << (n % 8)
		text := id.String()
		if want := base64.RawURLEncoding.EncodeToString(id[:]); text != want {
			t.Fatalf("%v: got %q, want %q", [16]byte(id), text, want)
		}
		if got, err := ParseMessageID(text); err != nil || got != id {
			t.Fatalf("%q: got %v, %v", text, got, err)
		}
	}
	good := MessageID{1}.String()
	for _, bad := range []string{
		"", good[1:], good + "A", good + "==", good[:21] + "B", good[:21] + "=", "+" + good[1:], "/" + good[1:],
		"\n" + good[1:], "\r\n" + good[2:], good[:20] + "\n\n", good[:18] + "\n\n\n\n",
	} {
		if got, err := ParseMessageID([]byte(bad)); err == nil || got != (MessageID{}) {
			t.Errorf("%q: got %v, %v", bad, got, err)
		}
	}
	if text := (MessageID{}).AppendTo([]byte("mid ")); !bytes.HasPrefix(text, []byte("mid A")) || len(text) != 26 {
		t.Errorf("got %q", text)
	}
}

// xxh64 is XXH64 with seed 0, written from its specification: the vectors do not
// rest on the library that the product uses.
func xxh64(b []byte) uint64 {
	const p1, p2, p3, p4, p5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
	word := func(i, size int) (v uint64) {
		for k := range size {
			v |= uint64(b[i+k]) << (8 * k)
		}
		return v
	}
	round := func(acc, lane uint64) uint64 { return bits.RotateLeft64(acc+lane*p2, 31) * p1 }
	var zero uint64
	h, i := zero+p5, 0
	if len(b) >= 32 {
		acc := [4]uint64{zero + p1, zero, zero, zero}
		acc[0] += p2
		acc[1] += p2
		acc[3] -= p1
		for ; i+32 <= len(b); i += 32 {
			for k := range acc {
				acc[k] = round(acc[k], word(i+8*k, 8))
			}
		}
		h = bits.RotateLeft64(acc[0], 1) + bits.RotateLeft64(acc[1], 7) + bits.RotateLeft64(acc[2], 12) + bits.RotateLeft64(acc[3], 18)
		for k := range acc {
			h = (h^round(0, acc[k]))*p1 + p4
		}
	}
	h += uint64(len(b))
	for ; i+8 <= len(b); i += 8 {
		h = bits.RotateLeft64(h^round(0, word(i, 8)), 27)*p1 + p4
	}
	if i+4 <= len(b) {
		h = bits.RotateLeft64(h^word(i, 4)*p1, 23)*p2 + p3
		i += 4
	}
	for ; i < len(b); i++ {
		h = bits.RotateLeft64(h^uint64(b[i])*p5, 11) * p1
	}
	h = (h ^ h>>33) * p2
	h = (h ^ h>>29) * p3
	return h ^ h>>32
}

// The published test vectors of XXH64 with seed 0 hold the check to account.
func TestHashReferenceIsXXH64(t *testing.T) {
	f := func(text string, want uint64) {
		t.Helper()
		if got := xxh64([]byte(text)); got != want {
			t.Errorf("%q: got %016x, want %016x", text, got, want)
		}
	}
	f("", 0xef46db3751d8e999)
	f("a", 0xd24ec4f1a98c6e5b)
	f("abc", 0x44bc2cf5ad770999)
	f("Nobody inspects the spammish repetition", 0xfbcea83c8a378bf1)
}

// The table of docs/formats/partition.md is true, both against the product's
// code and against a hash written from the specification.
func TestPartitionVectors(t *testing.T) {
	doc, err := os.ReadFile("docs/formats/partition.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (user|group) \\| `([^`]+)` \\| `([0-9a-f]{16})` \\| ([0-9]+) \\|$")
	rows := row.FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 8 {
		t.Fatalf("%d vectors", len(rows))
	}
	for _, r := range rows {
		kind, id := r[1][:1]+":", r[2]
		got := GroupID(id).Partition()
		if kind == "u:" {
			got = UserID(id).Partition()
		}
		hash := xxh64([]byte(kind + id))
		if r[3] != fmt.Sprintf("%016x", hash) || r[4] != strconv.FormatUint(hash>>54, 10) || r[4] != strconv.Itoa(int(got)) {
			t.Errorf("%s %s: the doc says %s and %s, the code %d, the hash %016x", r[1], id, r[3], r[4], got, hash)
		}
	}
}

func TestPartitionsAreEvenlyFilled(t *testing.T) {
	const users = 200 * Partitions
	var count [Partitions]int
	for i := range users {
		p := UserID("user-" + strconv.Itoa(i)).Partition()
		count[p]++
	}
	// Chi-squared with 1,023 degrees of freedom: mean 1,023, deviation 45.
	chi := 0.0
	for p, n := range count {
		d := float64(n - users/Partitions)
		chi += d * d / (users / Partitions)
		if n == 0 {
			t.Errorf("partition %d is empty", p)
		}
	}
	if chi < 750 || chi > 1300 {
		t.Errorf("chi-squared %.0f", chi)
	}
}

func TestLogIDHoldsItsPartition(t *testing.T) {
	for _, p := range []Partition{0, 1, Partitions - 1} {
		for _, n := range []uint64{0, 1, 1<<48 - 1} {
			if id := NewLogID(p, n); id.Partition() != p || uint64(id)&(1<<48-1) != n {
				t.Errorf("partition %d, number %d: %x", p, n, id)
			}
		}
	}
}

func TestPartitionDoesNotAllocate(t *testing.T) {
	id := UserID(strings.Repeat("a", IDBytesMax))
	if n := testing.AllocsPerRun(100, func() { id.Partition() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
