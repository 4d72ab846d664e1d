package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/godwit-im/godwit/harness/result"
)

// absent stands where a run recorded nothing; a zero is never shown for it.
const absent = "—"

// plausibleMax bounds what is drawn and compared: 31 years in microseconds, or
// a petabyte. A file that claims more is damaged or made up.
const plausibleMax = 1e15

// plausible reports whether v can be a measured amount.
func plausible(v float64) bool { return v >= 0 && v <= plausibleMax } // false for NaN

// significant writes v with three significant digits and no exponent.
func significant(v float64) string {
	if v == 0 || !plausible(math.Abs(v)) {
		if v == 0 {
			return "0"
		}
		return absent
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if text := strconv.FormatFloat(v, 'f', min(max(digits, 0), 6), 64); strings.Contains(text, ".") {
		return strings.TrimRight(strings.TrimRight(text, "0"), ".")
	} else {
		return grouped(text)
	}
}

// grouped sets commas between the thousands of an integer.
func grouped(integer string) string {
	digits, sign := strings.TrimPrefix(integer, "-"), ""
	if len(digits) < len(integer) {
		sign = "-"
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

func count(n uint64) string { return grouped(strconv.FormatUint(n, 10)) }

func integer(n int) string { return grouped(strconv.Itoa(n)) }

// micros writes a duration given in microseconds.
func micros(us float64) string {
	switch {
	case !plausible(us):
		return absent
	case us < 1000:
		return significant(us) + " µs"
	case us < 1e6:
		return significant(us/1e3) + " ms"
	default:
		return significant(us/1e6) + " s"
	}
}

// size writes an amount of bytes.
func size(bytes float64) string {
	if !plausible(bytes) {
		return absent
	}
	unit := 0
	for bytes >= 1024 && unit < 4 {
		bytes, unit = bytes/1024, unit+1
	}
	return significant(bytes) + " " + [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
}

// recorded is for figures in which 0 means that nobody measured.
func recorded(v float64, write func(float64) string) string {
	if v == 0 || !plausible(v) {
		return absent
	}
	return write(v)
}

// perSecond is a rate over a stage; a stage without a length has none.
func perSecond(n uint64, seconds float64) string {
	if !plausible(seconds) || seconds == 0 {
		return absent
	}
	return significant(float64(n)/seconds) + "/s"
}

// clean makes a string of a result file fit for one line of a page: control
// and direction characters go, and what is over the limit is cut.
func clean(s string, runesMax int) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if n == runesMax {
			b.WriteRune('…')
			break
		}
		if r == '\n' || r == '\t' {
			r = ' '
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			continue
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// text is clean for the usual cell; orAbsent marks an empty one.
func text(s string) string {
	if s = clean(s, 300); s == "" {
		return absent
	}
	return s
}

// stage returns the run's stage of that name.
func stage(run *result.Run, name string) (result.Stage, bool) {
	for _, s := range run.Stages {
		if s.Name == name {
			return s, true
		}
	}
	return result.Stage{}, false
}

// latencyOrder puts the latencies that answer most questions first.
var latencyOrder = []string{"send→delivered", "send→stored", "connect", "resume", "history"}
