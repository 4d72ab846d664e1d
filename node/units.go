package node

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written like 512, 64KiB or 2MiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// UnmarshalText parses a size.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/unit.bytes {
			break
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size: give bytes, or a whole number with KiB, MiB or GiB", text)
}

// String writes the size with the largest unit that divides it.
func (s Size) String() string {
	for _, unit := range sizeUnits {
		if unit.bytes > 1 && s != 0 && int64(s)%unit.bytes == 0 {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Duration is a span of time, written like 25s or 1m30s; never without a unit.
type Duration time.Duration

// UnmarshalText parses a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: give a number with a unit, such as 500ms, 25s or 2m", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) milliseconds() int64 { return time.Duration(d).Milliseconds() }

// String writes the duration without empty parts: 25s, 1m, 1m30s.
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
