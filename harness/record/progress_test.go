package record

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/harness/result"
)

// progressAt is a progress with a clock that the test moves.
func progressAt(width int) (p *Progress, out *bytes.Buffer, now *time.Time) {
	out, now = new(bytes.Buffer), new(time.Time)
	*now = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	p = NewProgress(out, func() time.Time { return *now })
	p.width = width
	return p, out, now
}

func TestProgressWithoutTerminalIsALineEveryFewSeconds(t *testing.T) {
	p, out, now := progressAt(0)
	for _, line := range []string{"0", "1", "2", "3", "4", "5", "6", "7"} {
		p.Update(line)
		*now = now.Add(time.Second)
	}
	p.Say("measure begins")
	p.Finish()
	p.Finish()
	if want := "0\n5\nmeasure begins\n7\n"; out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestProgressOnATerminalRewritesOneLine(t *testing.T) {
	p, out, now := progressAt(6)
	p.Update("one")
	p.Update("too early")
	*now = now.Add(liveEvery)
	p.Update("möwe und mehr")
	p.Say("said")
	*now = now.Add(liveEvery)
	p.Update("two")
	p.Update("last")
	p.Finish()
	const clear = "\r\x1b[K"
	if want := clear + "one" + clear + "möwe " + clear + "said\n" + clear + "two" + clear + "last\n"; out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestProgressIntoAPipeIsNoTerminal(t *testing.T) {
	if p := NewProgress(new(bytes.Buffer), time.Now); p.width != 0 {
		t.Errorf("a buffer is a terminal of %d columns", p.width)
	}
}

func TestProgressLineShowsRatesAndLatency(t *testing.T) {
	f := func(row result.Second, want string) {
		t.Helper()
		if got := strings.Join(strings.Fields(ProgressLine(row)), " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(result.Second{At: 3, Stage: "ramp", Sessions: 1234567}, "3 s ramp 1,234,567 sessions 0 sent/s 0 stored/s 0 delivered/s")
	f(result.Second{At: 12, Stage: "measure", Sessions: 200, Sent: 1000, Stored: 999, Delivered: 12000, P50US: 1234, P99US: 98765, MaxUS: 1234567},
		"12 s measure 200 sessions 1,000 sent/s 999 stored/s 12,000 delivered/s p50 1.23 ms p99 98.8 ms max 1235 ms")
	f(result.Second{Stage: "measure", MaxUS: 7}, "0 s measure 0 sessions 0 sent/s 0 stored/s 0 delivered/s p50 0 ms p99 0 ms max 0.007 ms")
}
