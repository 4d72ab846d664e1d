package edge

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// TestDeliveryTranscripts runs testdata/delivery: each line is one call, each
// answer the actions and the state after it.
func TestDeliveryTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/delivery", func(t *testing.T, path string) {
		var d delivery
		w := window{events: 512, bytes: 1 << 20}
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			arg := func(key string) (n int) {
				if td.HasArg(key) {
					td.ScanArgs(t, key, &n)
				}
				return n
			}
			seq, to, size := godwit.Seq(arg("seq")), godwit.Seq(arg("to")), max(arg("size"), 1)
			to = max(to, seq)
			var next want
			note := ""
			switch td.Cmd {
			case "window":
				w = window{events: uint32(arg("events")), bytes: uint32(arg("bytes"))}
				return "ok"
			case "opened":
				next = d.opened(w, godwit.Seq(arg("start")), godwit.Seq(arg("head")), td.HasArg("resumed"))
			case "hint":
				next = d.hint(w, seq, to, size)
			case "heard":
				next = d.heard(w, to)
			case "entry":
				next = d.entry(w, seq, to, size)
			case "fetched":
				next = d.fetched(w, godwit.Seq(arg("head")), td.HasArg("failed"))
			case "ack":
				var ok bool
				if next, ok = d.ack(w, seq); !ok {
					note = "invalid "
				}
			case "compare":
				next = d.compare(w)
			default:
				t.Fatalf("unknown command %q", td.Cmd)
			}
			events, bytes := d.room(w)
			return fmt.Sprintf("%s%s cursor=%d head=%d acked=%d room=%d/%d fetching=%t", note, next, d.cursor, d.head, d.acked, events, bytes, d.fetching)
		})
	})
}

// String names the actions for transcripts.
func (n want) String() string {
	var actions []string
	for _, a := range []struct {
		set  bool
		name string
	}{{n.write, "write"}, {n.resumed, "resumed"}, {n.fetch, "fetch"}} {
		if a.set {
			actions = append(actions, a.name)
		}
	}
	if actions == nil {
		return "-"
	}
	return strings.Join(actions, ",")
}

// TestDeliveryShowsEveryEntryOnceInOrder runs the machine against a log that
// grows, with hints lost, repeated and reordered, fetches that fail or are cut
// short, skips, and a client that acks late: what the client sees is the log.
func TestDeliveryShowsEveryEntryOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &deliveryModel{w: window{events: rapid.Uint32Range(1, 9).Draw(t, "events"), bytes: rapid.Uint32Range(1, 40).Draw(t, "bytes")}}
		for range rapid.IntRange(0, 8).Draw(t, "before") {
			m.grow(rapid.IntRange(1, 3).Draw(t, "span"))
		}
		steps := rapid.IntRange(1, 120).Draw(t, "steps")
		for range steps {
			m.step(t)
			m.check(t)
		}
		m.settle(t)
		if m.seen != m.head() {
			t.Fatalf("at rest the client has %d of %d", m.seen, m.head())
		}
		if m.resumedAsked != (m.resumedSeen == 1) || m.resumedSeen > 1 {
			t.Fatalf("resumed asked %t, seen %d times", m.resumedAsked, m.resumedSeen)
		}
	})
}

type modelEntry struct {
	seq, to godwit.Seq
	size    int
}

type deliveryModel struct {
	d            delivery
	w            window
	log          []modelEntry
	seen         godwit.Seq // what the client has
	unacked      []modelEntry
	fetch        bool
	fetchAt      godwit.Seq
	fetchRoom    uint32
	resumedAsked bool
	resumedSeen  int
}

func (m *deliveryModel) head() godwit.Seq {
	if len(m.log) == 0 {
		return 0
	}
	return m.log[len(m.log)-1].to
}

func (m *deliveryModel) grow(span int) {
	next := m.head() + 1
	m.log = append(m.log, modelEntry{next, next + godwit.Seq(span) - 1, 1 + len(m.log)%7})
}

func (m *deliveryModel) apply(t *rapid.T, next want, e modelEntry) {
	if next.write {
		if e.seq != m.seen+1 {
			t.Fatalf("wrote %d..%d to a client that has %d", e.seq, e.to, m.seen)
		}
		m.seen = e.to
		m.unacked = append(m.unacked, e)
	}
	if next.resumed {
		m.resumedSeen++
		if m.seen < m.d.target {
			t.Fatalf("resumed at %d before %d", m.seen, m.d.target)
		}
	}
	if next.fetch {
		if m.fetch {
			t.Fatal("a second fetch")
		}
		m.fetch, m.fetchAt = true, m.d.cursor
		m.fetchRoom, _ = m.d.room(m.w)
	}
}

func (m *deliveryModel) answer(t *rapid.T, failed bool, limit int) {
	m.fetch = false
	if !failed {
		i := slices.IndexFunc(m.log, func(e modelEntry) bool { return e.seq > m.fetchAt })
		for n := 0; i >= 0 && i < len(m.log) && n < min(limit, int(m.fetchRoom)); i, n = i+1, n+1 {
			m.apply(t, m.d.entry(m.w, m.log[i].seq, m.log[i].to, m.log[i].size), m.log[i])
		}
	}
	m.apply(t, m.d.fetched(m.w, m.head(), failed), modelEntry{})
}

func (m *deliveryModel) step(t *rapid.T) {
	switch rapid.IntRange(0, 6).Draw(t, "step") {
	case 0:
		m.grow(rapid.IntRange(1, 3).Draw(t, "span"))
	case 1, 2: // any hint at any time: late, early, repeated
		if len(m.log) > 0 {
			e := m.log[rapid.IntRange(0, len(m.log)-1).Draw(t, "hint")]
			if rapid.Bool().Draw(t, "bare") {
				m.apply(t, m.d.heard(m.w, e.to), e)
			} else {
				m.apply(t, m.d.hint(m.w, e.seq, e.to, e.size), e)
			}
		}
	case 3:
		if !m.d.live {
			m.openNow(t)
		}
	case 4:
		if m.fetch {
			m.answer(t, rapid.Bool().Draw(t, "failed"), rapid.IntRange(1, 4).Draw(t, "limit"))
		}
	case 5:
		if n := len(m.unacked); n > 0 {
			m.ack(t, rapid.IntRange(1, n).Draw(t, "ack"))
		}
	case 6:
		m.apply(t, m.d.compare(m.w), modelEntry{})
	}
}

func (m *deliveryModel) openNow(t *rapid.T) {
	start := godwit.Seq(0)
	if i := rapid.IntRange(0, len(m.log)).Draw(t, "start"); i > 0 {
		start = m.log[i-1].to
	}
	m.seen = start
	m.resumedAsked = rapid.Bool().Draw(t, "resumed")
	m.apply(t, m.d.opened(m.w, start, m.head(), m.resumedAsked), modelEntry{})
}

// ack takes the first n of what is unacked.
func (m *deliveryModel) ack(t *rapid.T, n int) {
	next, ok := m.d.ack(m.w, m.unacked[n-1].to)
	if !ok {
		t.Fatal("a good ack was refused")
	}
	m.unacked = m.unacked[n:]
	m.apply(t, next, modelEntry{})
}

func (m *deliveryModel) check(t *rapid.T) {
	if m.d.live && m.d.cursor != m.seen {
		t.Fatalf("cursor %d, client has %d", m.d.cursor, m.seen)
	}
	if _, ok := m.d.ack(m.w, m.d.cursor+1); ok {
		t.Fatal("an ack beyond the cursor was taken")
	}
	bytes := 0
	for _, e := range m.unacked {
		bytes += e.size
	}
	last := 0
	if n := len(m.unacked); n > 0 {
		last = m.unacked[n-1].size
	}
	if len(m.unacked) > int(m.w.events) || bytes-last >= int(m.w.bytes) && bytes > 0 {
		t.Fatalf("%d events, %d bytes unacked (the last %d) in a window of %+v", len(m.unacked), bytes, last, m.w)
	}
}

// settle stops losing things: acks, answers and compares come, nothing else.
func (m *deliveryModel) settle(t *rapid.T) {
	if !m.d.live {
		m.openNow(t)
	}
	for range 4*len(m.log) + 4 {
		if m.fetch {
			m.answer(t, false, 100)
		}
		if n := len(m.unacked); n > 0 {
			m.ack(t, n)
		}
		m.apply(t, m.d.compare(m.w), modelEntry{})
	}
}
