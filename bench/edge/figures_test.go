package main

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/godwit-im/godwit/edge/ws"
)

func TestSlopeIsWhatOneConnectionAdds(t *testing.T) {
	f := func(want float64, points ...memoryPoint) {
		t.Helper()
		if got := slope(points); math.Abs(got-want) > 1e-6 && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("slope of %v is %v, want %v", points, got, want)
		}
	}
	f(900, memoryPoint{1000, 7_900_000}, memoryPoint{3000, 9_700_000}, memoryPoint{5000, 11_500_000})
	f(500, memoryPoint{0, 0}, memoryPoint{100, 100_000}, memoryPoint{200, 100_000})
	f(math.NaN(), memoryPoint{1000, 5})
	if of(math.NaN()) != nil || *of(0) != 0 {
		t.Error("what can't be computed is not null, or zero is")
	}
	if got := bend([]memoryPoint{{0, 0}, {10, 100}, {20, 300}}); got != 2 {
		t.Errorf("the last step is %v of the first", got)
	}
}

func TestRatiosAreRoundByRound(t *testing.T) {
	same := func(v float64) float64 { return v }
	got := spreadOf(ratios([]float64{2, 6, 30, 9}, []float64{1, 2, 3, 0}, same))
	if got.Median != 3 || got.Low != 2 || got.High != 10 || got.Rounds != 3 {
		t.Errorf("spread is %+v", got)
	}
	if even := spreadOf([]float64{4, 1, 2, 3}); even.Median != 2.5 {
		t.Errorf("the median of four is %v", even.Median)
	}
	if spreadOf(nil) != nil || spreadOf(nil).figure() != nil {
		t.Error("no rounds have a median")
	}
	e := echoResult{Messages: 1000, Seconds: 0.5, CPU: 0.004}
	if e.perSecond() != 2000 || e.cpuMicros() != 4 {
		t.Errorf("%v/s, %v µs", e.perSecond(), e.cpuMicros())
	}
	if got := round(0.00123456); got != 0.001235 {
		t.Errorf("four digits are %v", got)
	}
}

func TestTargetsAreMissedUnlessMeasured(t *testing.T) {
	f := func(value figure, bound float64, least, want bool) {
		t.Helper()
		if got := (target{"x", value, bound, least}).hit(); got != want {
			t.Errorf("%s against %v: hit is %v", show(value), bound, got)
		}
	}
	f(of(1.2), 1.2, false, true)
	f(of(1.21), 1.2, false, false)
	f(of(0), 0.02, false, true)
	f(of(4), 4, true, true)
	f(of(3.9), 4, true, false)
	f(nil, 4, true, false)
	f(nil, 4, false, false)
}

func TestLatencyQuantiles(t *testing.T) {
	var ns []int64
	for i := range 1000 {
		ns = append(ns, int64(1000*(1000-i)))
	}
	if got := latencyOf(ns); got.P50 != 501 || got.P99 != 991 || got.P999 != 1000 || got.Max != 1000 {
		t.Errorf("quantiles are %+v", got)
	}
}

func TestStampComesBack(t *testing.T) {
	text := newText(pushBytes)
	if _, _, ok := stamps(text); ok {
		t.Error("a text without a stamp has one")
	}
	putStamp(text, 123456789, 1<<62)
	due, handed, ok := stamps(append([]byte("an event around it: "), text...))
	if !ok || due != 123456789 || handed != 1<<62 {
		t.Errorf("stamp is %d, %d, %v", due, handed, ok)
	}
	if _, _, ok := stamps(text[:30]); ok {
		t.Error("half a stamp is taken")
	}
}

// TestClientCountsFramesHoweverTheyAreCut feeds messages of all lengths of
// headers, with heartbeats in between, in pieces of every size.
func TestClientCountsFramesHoweverTheyAreCut(t *testing.T) {
	var wire []byte
	for _, size := range []int{messageMinBytes, 125, 126, 200, 70_000} {
		wire = ws.AppendFrame(wire, ws.Pong, []byte("x"))
		text := newText(size)
		putStamp(text[:messageMinBytes], 1, 2)
		wire = ws.AppendFrame(wire, ws.Binary, text)
		wire = ws.AppendFrame(wire, ws.Pong, nil)
	}
	for _, cut := range []int{1, 2, 3, 7, 64, 1000, len(wire)} {
		c := &client{kind: kindEcho, mode: modeWatch, watch: watch{stamped: true}}
		k := &conn{}
		for part := range slices.Chunk(wire, cut) {
			c.frames(k, part)
		}
		if c.watch.received != 5 || k.left != 0 || k.have != 0 {
			t.Errorf("in pieces of %d: %d messages, %d bytes left", cut, c.watch.received, k.left)
		}
		if want := 5; cut == len(wire) && len(c.watch.due) != want {
			t.Errorf("%d stamps, want %d", len(c.watch.due), want)
		}
	}
}

func TestRawEchoCountsWholeMessages(t *testing.T) {
	c := &client{kind: kindRaw, mode: modeIdle, busy: 1, replies: uint32(3 * rawBytes)}
	k := &conn{owed: c.replies}
	for range 3*rawBytes - 1 {
		c.rawInput(k, 1)
	}
	if c.echoed.Load() != 2 || c.busy != 1 {
		t.Errorf("%d messages, %d busy before the last byte", c.echoed.Load(), c.busy)
	}
	c.rawInput(k, 1)
	c.rawInput(k, 1) // unexpected: counts for nothing
	if c.echoed.Load() != 3 || c.busy != 0 {
		t.Errorf("%d messages, %d busy", c.echoed.Load(), c.busy)
	}
}

func TestHeaderLengths(t *testing.T) {
	f := func(want int, second byte) {
		t.Helper()
		if got := headerBytes(second); int(got) != want {
			t.Errorf("header with %d is %d bytes", second, got)
		}
	}
	f(2, 0)
	f(2, 125)
	f(4, 126)
	f(10, 127)
	k := conn{have: 4, head: [10]byte{0x82, 126}}
	binary.BigEndian.PutUint16(k.head[2:], 777)
	if k.length() != 777 {
		t.Errorf("length is %d", k.length())
	}
}

func TestParsesWhatServersAndToolsSay(t *testing.T) {
	if n, ok := contentLength([]byte("HTTP/1.1 200 OK\r\ncontent-length: 42\r\n")); !ok || n != 42 {
		t.Errorf("content length is %d, %v", n, ok)
	}
	if _, ok := contentLength([]byte("HTTP/1.1 200 OK\r\n")); ok {
		t.Error("a head without a length has one")
	}
	if c, ok := pollCursor([]byte(`{"connect":{}}` + "\n" + `{"poll":{"cursor":"k3Zx.ai2"}}` + "\n")); !ok || c != "k3Zx.ai2" {
		t.Errorf("cursor is %q, %v", c, ok)
	}
	if _, ok := pollCursor([]byte(`{"poll":{"cursor":"`)); ok {
		t.Error("half a cursor is taken")
	}
	perf := "# a comment\n123456,,raw_syscalls:sys_enter,1000123456,100.00,,\n"
	if v, err := parsePerf(perf); err != nil || v != 123456 {
		t.Errorf("perf counted %v, %v", v, err)
	}
	for _, bad := range []string{"", "<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n", "event syntax error"} {
		if _, err := parsePerf(bad); err == nil {
			t.Errorf("perf's %q is taken", bad)
		}
	}
}
