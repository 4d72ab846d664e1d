package record

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/godwit-im/godwit/harness/result"
)

// How often progress is shown.
const (
	liveEvery  = 200 * time.Millisecond
	plainEvery = 5 * time.Second
)

// Progress shows how a run goes: one live line on a terminal, a line every few
// seconds elsewhere. Safe for concurrent use.
type Progress struct {
	now func() time.Time

	mu    sync.Mutex
	to    io.Writer
	width int // columns of the terminal; 0: no terminal
	shown time.Time
	live  bool   // an unfinished line stands on the terminal
	next  string // the newest line that was too early to be shown
}

// NewProgress writes to the given file or pipe; a *os.File that is a terminal
// gets the live line. now is time.Now outside of tests.
func NewProgress(to io.Writer, now func() time.Time) *Progress {
	p := &Progress{to: to, now: now}
	if f, ok := to.(*os.File); ok && os.Getenv("TERM") != "dumb" {
		p.width = columns(f)
	}
	return p
}

// Update shows the line when it is time for one, or else keeps it until then.
func (p *Progress) Update(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := plainEvery
	if p.width > 0 {
		every = liveEvery
	}
	p.next = line
	if now := p.now(); now.Sub(p.shown) >= every {
		p.showLocked(now)
	}
}

// Say writes a line that stays, such as the start of a stage.
func (p *Progress) Say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	fmt.Fprintln(p.to, line)
}

// Finish shows the newest line if it wasn't shown yet, and ends a live one.
func (p *Progress) Finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != "" {
		p.showLocked(p.now())
	}
	if p.live {
		fmt.Fprintln(p.to)
		p.live = false
	}
}

func (p *Progress) showLocked(now time.Time) {
	line := p.next
	p.next, p.shown = "", now
	if p.width == 0 {
		fmt.Fprintln(p.to, line)
		return
	}
	// A line that wraps can't be overwritten.
	for utf8.RuneCountInString(line) >= p.width {
		_, size := utf8.DecodeLastRuneInString(line)
		line = line[:len(line)-size]
	}
	fmt.Fprintf(p.to, "\r\x1b[K%s", line)
	p.live = true
}

func (p *Progress) clearLocked() {
	if p.live {
		fmt.Fprint(p.to, "\r\x1b[K")
		p.live = false
	}
}

// ProgressLine is a row of the series in one line.
func ProgressLine(row result.Second) string {
	line := fmt.Sprintf("%4.0f s  %-9s  %s sessions  %s sent/s  %s stored/s  %s delivered/s",
		row.At, row.Stage, thousands(uint64(max(0, row.Sessions))), thousands(row.Sent), thousands(row.Stored), thousands(row.Delivered))
	if row.MaxUS > 0 {
		line += fmt.Sprintf("  p50 %s  p99 %s  max %s", milliseconds(row.P50US), milliseconds(row.P99US), milliseconds(row.MaxUS))
	}
	return line
}

// thousands writes 1,234,567.
func thousands(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// milliseconds writes microseconds with three significant digits.
func milliseconds(us float64) string {
	ms := us / 1000
	decimals := 0
	if ms > 0 {
		decimals = min(max(0, 2-int(math.Floor(math.Log10(ms)))), 3)
	}
	return strings.TrimSpace(strconv.FormatFloat(ms, 'f', decimals, 64)) + " ms"
}
