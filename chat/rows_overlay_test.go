package chat

import "testing"

func TestOverlayRowComesBack(t *testing.T) {
	for _, want := range []overlayRow{{seq: 7, time: 1_700_000_000_000}, {seq: 1, recalled: true}} {
		var got overlayRow
		if !got.parse(want.append(nil)) || got != want {
			t.Errorf("%+v came back as %+v", want, got)
		}
	}
	var o overlayRow
	for _, bad := range [][]byte{nil, {0, 1}, {1, 1, 2}, {1, 1, 1, 1}} {
		if o.parse(bad) {
			t.Errorf("%v parses", bad)
		}
	}
}
