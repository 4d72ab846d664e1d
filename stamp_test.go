package godwit

import (
	"math"
	"testing"
)

func TestAStampHasOneText(t *testing.T) {
	for _, stamp := range []uint64{0, 1, 465223887110471681, math.MaxUint64} {
		text := FormatStamp(stamp)
		if got, ok := ParseStamp(text); !ok || got != stamp || len(text) > StampBytesMax {
			t.Errorf("%d: %q, %d, %v", stamp, text, got, ok)
		}
	}
	for _, text := range []string{"0", "01", "+1", "-1", "1 ", "1_0", "0x1", "18446744073709551616", "000000000000000000001", "१"} {
		if stamp, ok := ParseStamp([]byte(text)); ok {
			t.Errorf("%q is taken for %d", text, stamp)
		}
	}
}
