package chat

import "testing"

func TestOverlayRowComesBack(t *testing.T) {
	for _, want := range []overlayRow{
		{last: 7, time: 1_700_000_000_000, revision: 2, content: 1 << 63},
		{last: 1, flags: overlayRecalled, revision: 1},
	} {
		var got overlayRow
		if !got.parse(want.append(nil)) || got != want {
			t.Errorf("%+v came back as %+v", want, got)
		}
	}
	var o overlayRow
	for _, bad := range [][]byte{nil, {0, 1, 0, 0, 0}, {1, 1, 1, 1}, {1, 1, 1, 1, 1, 1}} {
		if o.parse(bad) {
			t.Errorf("%v parses", bad)
		}
	}
}
