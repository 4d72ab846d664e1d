package link

import (
	"slices"
	"testing"

	"github.com/godwit-im/godwit"
)

// seeds are batches of every kind of item, as the two sides write them.
func seeds() (up, down []byte) {
	item := func(batch *[]byte, kind itemKind, rest func([]byte) []byte) {
		start := len(*batch)
		*batch = rest(begin(*batch, kind))
		end(*batch, start)
	}
	e := entry(1, "hi")
	frame := godwit.AppendEvent(nil, godwit.EncodingProto, &e)
	item(&up, itemConnect, func(b []byte) []byte {
		return append(appendText(append(appendText(appendText(appendText(append(appendSession(b, 5), 1), "alice"), "phone"), "e1"), 7, 9, 1), "g:g1"), 8)
	})
	item(&up, itemRequest, func(b []byte) []byte {
		return (&godwit.ClientFrame{ID: 1, Kind: godwit.KindSync}).AppendTo(appendText(appendSession(b, 5), "alice"), godwit.EncodingProto)
	})
	item(&up, itemFetch, func(b []byte) []byte { return append(appendText(appendSession(b, 5), "alice"), 1, 2, 3) })
	item(&up, itemDisconnect, func(b []byte) []byte { return appendText(appendText(appendSession(b, 5), "alice"), "phone") })
	item(&up, itemReady, func(b []byte) []byte { return b })
	item(&up, 99, func(b []byte) []byte { return append(b, "later"...) })
	item(&down, itemConnected, func(b []byte) []byte {
		return append(appendText(append(appendText(append(appendSession(b, 5), 1), "e1"), 2, 1), ""), 3)
	})
	item(&down, itemReply, func(b []byte) []byte {
		return (&godwit.ServerFrame{ID: 1, Kind: godwit.KindSend}).AppendTo(appendSession(b, 5), godwit.EncodingProto)
	})
	item(&down, itemDeliver, func(b []byte) []byte { return append(append(b, 2, 5, 6), frame...) })
	item(&down, itemHint, func(b []byte) []byte { return append(b, 2, 5, 6, 9) })
	item(&down, itemTell, func(b []byte) []byte { return append(append(b, 2, 5, 6), frame...) })
	item(&down, itemWhisper, func(b []byte) []byte { return append(append(b, 1, 5), frame...) })
	item(&down, itemFetched, func(b []byte) []byte { return appendText(append(appendSession(b, 5), 0, 9, 1), frame) })
	item(&down, itemClose, func(b []byte) []byte { return appendText(append(appendSession(b, 5), 0xA3, 0x1F), "replaced") })
	item(&down, itemDrain, func(b []byte) []byte { return append(b, 1, 2) })
	item(&down, 99, func(b []byte) []byte { return append(b, "later"...) })
	return up, down
}

// FuzzBatch reads any bytes as batches in both directions. Only a session of the
// peer's own index is ever named, and cut at any item a batch says the same.
func FuzzBatch(f *testing.F) {
	up, down := seeds()
	f.Add(up)
	f.Add(down)
	f.Add(up[:len(up)-1])
	f.Add([]byte{itemByte(itemDeliver), 0x83, 0x80, 0x80, 0, 0xFF, 0xFF, 3})
	f.Fuzz(func(t *testing.T, batch []byte) {
		whole, parts := readBoth(t, [][]byte{batch}), [][]byte{}
		for rest := batch; len(rest) > 0; {
			_, _, next, err := nextItem(rest)
			if err != nil {
				parts = append(parts, rest)
				break
			}
			parts = append(parts, rest[:len(rest)-len(next)])
			rest = next
		}
		if got := readBoth(t, parts); !slices.Equal(got, whole) {
			t.Errorf("in parts %q, as a whole %q", got, whole)
		}
	})
}

func itemByte(k itemKind) byte { return byte(k) }

// readBoth reads batches as the hub does and as the client does, each until the
// first that is malformed, and returns what came of them.
func readBoth(t *testing.T, batches [][]byte) []string {
	const index = 77
	chat, edge := &fakeChat{log: newLog()}, &fakeEdge{log: newLog()}
	chat.onRequest = func(s godwit.SessionID, user godwit.UserID, f *godwit.ClientFrame) {
		chat.add("request %x %s %d", uint64(s), user, f.ID)
		ownSession(t, s, index)
	}
	hub, err := NewHub(HubConfig{Chat: chat, Router: chat})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Stop()
	ask := askReader{attached: &attached{hub: hub, index: index}}
	for _, batch := range batches {
		if _, err := ask.batch(batch); err != nil {
			break
		}
	}
	tell := tellReader{client: &Client{cfg: ClientConfig{}}, edge: edge}
	if err := tell.client.cfg.validate(); err == nil {
		t.Fatal("a client without an address")
	}
	tell.client.cfg.Resolve = At("unix:x")
	_ = tell.client.cfg.validate()
	for _, batch := range batches {
		if _, err := tell.batch(batch); err != nil {
			break
		}
	}
	return append(chat.lines, edge.lines...)
}

func ownSession(t *testing.T, s godwit.SessionID, index int) {
	if edgeOf(s) != index {
		t.Errorf("session %x is not of index %d", uint64(s), index)
	}
}

func TestSeedsAreReadWhole(t *testing.T) {
	up, down := seeds()
	if got := readBoth(t, [][]byte{up}); len(got) != 4 {
		t.Errorf("%q", got)
	}
	if got := readBoth(t, [][]byte{down}); len(got) != 8 {
		t.Errorf("%q", got)
	}
	for n := range up { // cut anywhere: an error, or whole items only
		_ = readBoth(t, [][]byte{up[:n]})
	}
}
