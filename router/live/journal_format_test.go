package live

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// TestTheFileIsAsDocumented: the bytes of docs/formats/lastseen.md.
func TestTheFileIsAsDocumented(t *testing.T) {
	e := &blocks{buf: appendJournalHeader(nil), now: 1767366245000}
	e.add(recordOnline, "bob", 0)
	e.add(recordLeft, "carol", 1767366243000)
	e.add(recordUnknown, "dave", 0)
	e.end()
	if got, want := fmt.Sprintf("%x", e.buf), documentedFile; got != want {
		t.Errorf("written %s\nwant    %s", got, want)
	}
	j, err := parseJournal(e.buf)
	if err != nil || j.torn || j.ms != e.now || !maps.Equal(j.users, map[godwit.UserID]known{"bob": {online: true}, "carol": {ms: e.now - 2000}}) {
		t.Errorf("read %+v: %v", j, err)
	}
}

// TestACutOrDamagedFileNeverLies: whatever is read was so at one of its writes, and
// all of it at the same.
func TestACutOrDamagedFileNeverLies(t *testing.T) {
	src := appendJournalHeader(nil)
	states := []journal{{users: map[godwit.UserID]known{}}}
	ends := map[int]int{len(src): 0} // of the file at each state
	for i := range 6 {
		e := &blocks{now: int64(1000 * (i + 1))}
		e.add(recordOnline, godwit.UserID(fmt.Sprint("u", i%3)), 0)
		e.add(recordLeft, godwit.UserID(fmt.Sprint("u", (i+1)%3)), e.now-int64(i+1))
		e.end()
		src = append(src, e.buf...)
		j, err := parseJournal(src)
		if err != nil || j.torn || j.ms != e.now {
			t.Fatalf("%+v: %v", j, err)
		}
		states, ends[len(src)] = append(states, j), len(states)
	}
	same := func(a, b journal) bool { return a.ms == b.ms && maps.Equal(a.users, b.users) }
	state := 0
	for n := range len(src) + 1 {
		at, whole := ends[n]
		if whole {
			state = at
		}
		for _, zeros := range []int{0, 1, 5000} { // a crash may leave room that nothing was written to
			j, err := parseJournal(append(src[:n:n], make([]byte, zeros)...))
			switch {
			case n < headerSizeBytes:
				if err == nil {
					t.Fatalf("a header of %d bytes is taken", n)
				}
			case err == nil && (!same(j, states[state]) || j.torn == (whole && zeros == 0)):
				t.Errorf("cut at %d with %d zeros: %+v, want %+v", n, zeros, j, states[state])
			case err != nil && (zeros == 0 || whole):
				t.Errorf("cut at %d with %d zeros: %v", n, zeros, err)
			}
		}
	}
	last := states[len(states)-2] // what counts without the last block
	for i := range src {
		for bit := range 8 {
			bad := append([]byte(nil), src...)
			bad[i] ^= 1 << bit
			if j, err := parseJournal(bad); err == nil && (!j.torn || !slicesContains(states[:len(states)-1], j, same)) {
				t.Errorf("bit %d of byte %d flipped: %+v", bit, i, j)
			} else if err == nil && i >= len(src)-10 && !same(j, last) {
				t.Errorf("the last block damaged: %+v", j)
			}
		}
	}
}

func slicesContains(all []journal, one journal, same func(a, b journal) bool) bool {
	for _, j := range all {
		if same(j, one) {
			return true
		}
	}
	return false
}

func TestWhatIsNotAJournalSaysNothing(t *testing.T) {
	block := func(now uint64, records string) string {
		b := make([]byte, blockHeaderBytes)
		binary.LittleEndian.PutUint32(b[4:], uint32(len(records)))
		binary.LittleEndian.PutUint64(b[8:], now)
		b = append(b, records...)
		binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
		return string(b)
	}
	header := string(appendJournalHeader(nil))
	newer := []byte(journalMagic + "\x02\x00\x00\x00")
	newer = binary.LittleEndian.AppendUint32(newer, crc32.Checksum(newer, castagnoli))
	for what, src := range map[string]string{
		"nothing":            "",
		"text":               strings.Repeat("text ", 10),
		"another version":    string(newer),
		"no time":            header + block(0, ""),
		"a far time":         header + block(1<<63, ""),
		"an unknown kind":    header + block(1, "\x04\x01a"),
		"a bad user":         header + block(1, "\x01\x01 "),
		"no user":            header + block(1, "\x01\x00"),
		"a long user":        header + block(1, "\x01\xff"+strings.Repeat("a", 255)),
		"a cut user":         header + block(1, "\x01\x05bob"),
		"a cut record":       header + block(1, "\x01"),
		"no time of leaving": header + block(1, "\x02\x01a"),
		"a time before all":  header + block(1, "\x02\x01a\x02"),
		"a time that overflows": header + block(1, "\x02\x01a"+
			string(binary.AppendVarint(nil, -1<<63))),
		"a block that is too long": header + "\x01\x00\x00\x00\xff\xff\xff\xff12345678" + strings.Repeat("a", 100),
		"damage before the end":    header + strings.Replace(block(1, "\x01\x01a"), "a", "b", 1) + block(1, ""),
	} {
		if j, err := parseJournal([]byte(src)); err == nil || len(j.users) != 0 {
			t.Errorf("%s is taken: %+v", what, j)
		}
		l := newLife(t, 0)
		if err := os.WriteFile(l.path, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		l.kill()
		if !strings.Contains(l.log.String(), "written anew") {
			t.Errorf("%s is not told of: %s", what, l.log)
		}
		l.comes("bob")
		l.leaves("bob")
		at := *l.now
		*l.now++
		l.end()
		l.want("bob", at)
	}
}

// TestATornTailIsToldOf and what stands before it counts.
func TestATornTailIsToldOf(t *testing.T) {
	l := newLife(t, 0)
	l.comes("bob")
	l.leaves("bob")
	l.tick()
	at, before := *l.now, len(l.bytes())
	*l.now++
	l.comes("carol")
	l.tick()
	if err := os.WriteFile(l.path, l.bytes()[:before+7], 0o600); err != nil {
		t.Fatal(err)
	}
	l.kill()
	if !strings.Contains(l.log.String(), "cut short") {
		t.Errorf("logged %s", l.log)
	}
	l.want("bob", at)
	l.want("carol", 0)
}

// TestJournalAgainstAModel: users come, leave and are erased, the process is killed
// or ends; a map says what every life must know.
func TestJournalAgainstAModel(t *testing.T) {
	type truth struct {
		online, erased bool
		ms             int64 // when he left; 0: not known
	}
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l := newLife(t, 0)
		users, written, beat := map[godwit.UserID]truth{}, map[godwit.UserID]truth{}, int64(0)
		write := func() { written, beat = maps.Clone(users), *l.now }
		restart := func(known map[godwit.UserID]truth, ms int64) {
			users = map[godwit.UserID]truth{}
			for user, was := range known {
				if was.online && !was.erased {
					was.ms = ms
				}
				users[user] = truth{ms: was.ms}
			}
			write() // a life begins with a write
		}
		write()
		for range 200 {
			*l.now += rnd.Int64N(3000)
			user := godwit.UserID(fmt.Sprint("u", rnd.IntN(12)))
			u := users[user]
			switch n := rnd.IntN(100); {
			case n < 40 && !u.online:
				l.comes(user)
				u.online, u.ms = true, 0
			case n < 70 && u.online:
				l.leaves(user)
				if u.online, u.ms = false, *l.now; u.erased {
					u.ms = 0
				}
				u.erased = false
			case n < 74:
				l.forget(user)
				if err := l.flush(); err != nil {
					t.Fatal(err)
				}
				u.ms, u.erased = 0, u.online
				users[user] = u
				write()
			case n < 94:
				l.tick()
				write()
			case n < 97:
				l.kill()
				restart(written, beat)
				continue
			default:
				now := *l.now
				l.end()
				restart(users, now)
				continue
			}
			users[user] = u
			for user, u := range users {
				want := u.ms
				if u.online {
					want = -1
				}
				l.want(user, want)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// FuzzLastSeenFile: what is read is written again alike.
func FuzzLastSeenFile(f *testing.F) {
	e := &blocks{buf: appendJournalHeader(nil), now: 1767366245000}
	e.add(recordOnline, "bob", 0)
	e.add(recordLeft, "carol", 1767366243000)
	e.end()
	e.add(recordUnknown, "bob", 0)
	e.end()
	f.Add(e.buf)
	f.Add(e.buf[:len(e.buf)-3])
	f.Add(append(e.buf, 0, 0, 0))
	f.Fuzz(func(t *testing.T, input []byte) {
		src := append([]byte(nil), input...)
		// Most changes break a checksum; those of all blocks are put right first.
		for at := headerSizeBytes; len(src)-at >= blockHeaderBytes; {
			size := int(binary.LittleEndian.Uint32(src[at+4:]))
			if size > blockBytesMax || len(src)-at < blockHeaderBytes+size {
				break
			}
			end := at + blockHeaderBytes + size
			binary.LittleEndian.PutUint32(src[at:], crc32.Checksum(src[at+4:end], castagnoli))
			at = end
		}
		j, err := parseJournal(src)
		if err != nil {
			if len(j.users) > 0 {
				t.Fatal("what is damaged is believed")
			}
			return
		}
		again := &blocks{buf: appendJournalHeader(nil), now: max(1, j.ms)}
		for user, k := range j.users {
			if k.online {
				again.add(recordOnline, user, 0)
			} else {
				again.add(recordLeft, user, k.ms)
			}
		}
		again.end()
		if got, err := parseJournal(again.buf); err != nil || !maps.Equal(got.users, j.users) {
			t.Fatalf("%+v became %+v: %v", j, got, err)
		}
	})
}

// documentedFile is the example of the format's page.
const documentedFile = "7f6777745365656e0100000016bc87a6" +
	"c216906f1400000088ba3c7f9b010000" +
	"0103626f62" + "02056361726f6ca01f" + "030464617665"
