package edge

import (
	"cmp"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
)

// memory holds the process to its budget. One goroutine reads how much is in
// use; loops read the result and add what has been accepted since. Above the
// soft limit nobody new comes in, and sockets without a token that hold much go;
// above the budget so do the sessions with the most unread output, which lose
// nothing by it.
type memory struct {
	budget int64                // bytes; 0: not bounded
	read   func() (bytes int64) // what the process uses
	open   *atomic.Int64        // sockets

	used   atomic.Int64 // at the last reading
	openAt atomic.Int64 // sockets then
	shed   atomic.Uint64
}

const (
	memoryEvery      = 500 * time.Millisecond
	newcomerBytes    = 16 << 10 // what a socket may take before the next reading
	socketBytes      = 9 << 9   // of kernel memory per idle socket, measured
	shedBytesMin     = 48 << 10 // of unread output and half a message; closing for less frees little
	strangerBytesMin = 4 << 10  // the same for a socket without a token
	collectLooks     = 4        // looks between collections while newcomers have to stay outside
	shedCloseTicks   = 4        // after which such a session is gone even if it never read its close
	budgetBytesFloor = 32 << 20
)

// soft is where newcomers are refused: an eighth is left for those inside.
func (m *memory) soft() int64 { return m.budget - m.budget/8 }

// tight reports whether newcomers have to stay outside.
func (m *memory) tight() bool {
	if m.budget == 0 {
		return false
	}
	since := m.open.Load() - m.openAt.Load()
	return m.used.Load()+max(0, since)*newcomerBytes > m.soft()
}

// spent reports whether there is nothing left even for a refusal after a head.
func (m *memory) spent() bool { return m.budget > 0 && m.used.Load() > m.budget }

// look takes a reading and returns how much must go.
func (m *memory) look() (over int64) {
	open := m.open.Load()
	used := m.read() + open*socketBytes
	m.used.Store(used)
	m.openAt.Store(open)
	return used - m.budget
}

// watchMemory looks at the memory until stop is closed. Garbage is no reason to
// close anyone or to keep anyone out: it is collected first, in case of the latter
// now and then, as an idle process would not collect it by itself.
func (e *Edge) watchMemory(looks <-chan time.Time, stop <-chan struct{}) {
	m := &e.admission.memory
	warned := false // since it was last within the budget
	for n := 0; ; n++ {
		over := m.look()
		if over > 0 || n%collectLooks == 0 && m.tight() {
			debug.FreeOSMemory()
			over = m.look()
		}
		if over > 0 {
			if !warned {
				e.cfg.Logger.Warn("over the memory budget: ending the connections that hold most", "used", m.used.Load(), "budget", m.budget)
			}
			e.shed(over+m.budget/16, false)
		} else if m.tight() {
			e.shed(over+m.budget/4, true)
		}
		warned = over > 0
		select {
		case <-looks:
		case <-stop:
			return
		}
	}
}

// shed asks each loop for its share of the bytes to free, of strangers alone or
// of all.
func (e *Edge) shed(bytes int64, strangers bool) {
	it := item{kind: itemShed}
	if strangers {
		it.extra = 1
	}
	share := (bytes + int64(len(e.loops)) - 1) / int64(len(e.loops))
	for _, l := range e.loops {
		it.seq = godwit.Seq(share)
		l.box.put(it, nil)
	}
}

// hoard is what one session makes the process keep.
type hoard struct {
	s        *session
	bytes    int
	stranger bool // it has not shown a good token
}

// hoards lists the sessions that keep much, those to part with first at the front.
func (l *loop) hoards() (all []hoard) {
	l.sessions.each(func(s *session) {
		h := hoard{s, s.conn.OutboundBuffered() + s.conn.InboundBuffered(), s.source != 0}
		if s.lent != nil {
			h.bytes += s.lent.Size()
		}
		if h.bytes >= shedBytesMin || h.stranger && h.bytes >= strangerBytesMin {
			all = append(all, h)
		}
	})
	slices.SortFunc(all, func(a, b hoard) int {
		if a.stranger != b.stranger {
			if a.stranger {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.bytes, a.bytes)
	})
	return all
}

// shed parts with sessions until so many bytes are gone: with strangers in the
// middle of a long first message, then with the longest queues. It walks all
// sessions, twice a second at most.
func (l *loop) shed(bytes int64, strangers bool) {
	for _, h := range l.hoards() {
		if bytes <= 0 || strangers && !h.stranger {
			return
		}
		bytes -= int64(h.bytes)
		l.edge.admission.memory.shed.Add(1)
		if h.stranger || h.s.state == stateClosing {
			l.drop(h.s) // it has nothing to lose, or had its chance to read
			continue
		}
		l.closeSession(h.s, closeAgain(godwit.CloseSlowConsumer, "memory"))
		h.s.deadline = l.now + shedCloseTicks
		l.arm(h.s)
	}
}

// usedMemory reads what the process takes from the system: what Go's runtime
// has mapped and not given back, or the resident set if that is more.
func usedMemory() func() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	return func() int64 {
		metrics.Read(samples)
		used := int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
		return max(used, residentBytes())
	}
}

// residentBytes is 0 where the system does not say.
func residentBytes() int64 {
	f, err := os.Open("/proc/self/statm")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	var buf [128]byte
	n, err := f.Read(buf[:])
	if err != nil && err != io.EOF {
		return 0
	}
	fields := strings.Fields(string(buf[:n]))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
