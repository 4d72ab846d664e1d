package chat

import (
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

func sampleFanoutCommands() map[string][]byte {
	c := fanoutCommand{
		conv: []byte("g:g42"), log: godwit.NewLogID(godwit.GroupID("g42").Partition(), 7), epoch: testEpoch, base: 2,
		entries: []fanoutEntry{
			{seq: 300, flags: fanCounts, time: 1_700_000_000_000, sender: []byte("alice")},
			{seq: 301, flags: fanBoundary, time: 1_700_000_000_001, messages: 290},
		},
	}
	bob := fanoutMember{user: []byte("bob"), since: 9, left: 300, after: 5}
	carol := fanoutMember{user: []byte("carol"), since: 1, delivered: 280, read: 270}
	fan := carol.append(bob.append(append(appendFanoutHead(nil, 128, &c), 2)))
	c.personal = true
	c.entries = []fanoutEntry{{seq: 400, time: 1_700_000_000_002, messages: 350}, {seq: 410, time: 1_700_000_000_003, messages: 355}}
	joined, left := fanoutMember{user: []byte("dave"), since: 400}, fanoutMember{user: []byte("dave"), left: 410}
	return map[string][]byte{
		"fan":    fan,
		"cfan":   left.append(joined.append(append(appendFanoutHead(nil, 128, &c), 2))),
		"fanned": appendFannedItem(appendFannedItem(appendFannedHead(nil, 0, testEpoch, 2), "g42", 301, []uint32{0, 300}), "g7", 5, nil),
	}
}

func TestFanoutCommandBytesAreFixed(t *testing.T) {
	golden := map[string]string{
		"fan": "0d0100000080" + "05673a673432" + "07" + "00000000000000e0" + "02" + "00" + "02" +
			"01ac0280d095ffbc31" + "05616c696365" + "020181d095ffbc31a202" + "02" +
			"03626f62" + "0309ac0205" + "056361726f6c" + "04019802" + "8e02",
		"cfan": "0d0100000080" + "05673a673432" + "07" + "00000000000000e0" + "02" + "01" + "02" +
			"00900382d095ffbc31de02" + "000a83d095ffbc31e302" + "02" + "0464617665" + "009003" + "0464617665" + "01009a03",
		"fanned": "0e0100000000" + "00000000000000e0" + "02" + "03673432" + "ad02" + "0200ac02" + "026737" + "05" + "00",
	}
	document, err := os.ReadFile("../docs/formats/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range sampleFanoutCommands() {
		if got := hex.EncodeToString(command); got != golden[name] {
			t.Errorf("%s is\n%s, want\n%s", name, got, golden[name])
		}
		if _, ok := parseCommand(command); !ok {
			t.Errorf("%s does not parse", name)
		}
		for n := range command {
			if _, ok := parseCommand(command[:n]); ok {
				t.Errorf("%s cut to %d of %d bytes parses", name, n, len(command))
			}
		}
		if example := fmt.Sprintf("    %-8s %x\n", name, command); !strings.Contains(string(document), example) {
			t.Errorf("docs/formats/commands.md lacks %q", example)
		}
	}
}

// FuzzFanoutCommand gives arbitrary bytes to apply: what it takes, it takes once.
func FuzzFanoutCommand(f *testing.F) {
	for _, command := range sampleFanoutCommands() {
		f.Add(command, byte(1))
		f.Add(command, byte(8))
	}
	f.Fuzz(func(t *testing.T, command []byte, groups byte) {
		p, ok := parseCommand(command)
		if _, fans := p.body.(*fanoutCommand); !ok || !fans && p.header.kind != kindFanned {
			return
		}
		n := 1
		if groups > 1 {
			n = 8
		}
		at := groupOf(p.header.home, n)
		if homeOf(at, n) != p.header.home {
			return
		}
		run := func() (outcome, []uint64) {
			w := newWorld(t, n, levelTwo(500))
			before := w.store.digests()
			o := w.run(at, command)
			if o.refusal != nil && !slices.Equal(before, w.store.digests()) {
				t.Error("a refused command changed the state")
			}
			after := w.store.digests()
			if w.run(at, command); o.extra == nil && !slices.Equal(after, w.store.digests()) {
				t.Errorf("%x changes the state twice", command)
			}
			return o, w.store.digests()
		}
		o1, d1 := run()
		o2, d2 := run()
		if !reflect.DeepEqual(o1, o2) || !slices.Equal(d1, d2) {
			t.Errorf("two replicas differ: %+v, %+v", o1, o2)
		}
	})
}
