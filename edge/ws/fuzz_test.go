package ws

import (
	"slices"
	"testing"
)

// FuzzWSFrame shows the same stream to readers whole, byte by byte and split as
// the input says: messages, control frames and the error must be the model's.
func FuzzWSFrame(f *testing.F) {
	f.Add([]byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), []byte{1, 3}, false)
	f.Add([]byte("\x81\x05Hello"), []byte{2}, true)
	f.Add([]byte("\x01\x03Hel\x80\x02lo"), []byte{4, 2}, true)
	f.Add([]byte("\x01\x02\xe2\x82\x89\x01p\x80\x01\xac\x88\x02\x03\xe8"), []byte{3}, true)
	f.Add([]byte("\x82\x7e\x00\x7e"), []byte{}, true)
	f.Add([]byte("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), []byte{9}, true)
	f.Add([]byte("\x81\x04\xf4\x90\x80\x80"), []byte{3}, true)
	f.Add([]byte("\x88\x01\x03"), []byte{}, true)
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x80\x00"), []byte{5}, true)
	f.Add(AppendMasked(AppendMasked(nil, false, Text, 77, []byte("grü")), true, Continuation, 78, []byte("ße")), []byte{7}, false)
	f.Fuzz(func(t *testing.T, stream, steps []byte, client bool) {
		cfg := Config{Client: client, MessageMaxBytes: 700, FragmentsMax: 4}
		var cuts []int
		for at, i := 0, 0; len(steps) > 0; i++ {
			if at += 1 + int(steps[i%len(steps)]); at >= len(stream) {
				break
			}
			cuts = append(cuts, at)
		}
		want, wantErr := model(&cfg, stream)
		for _, c := range [][]int{nil, cuts, everyByte(stream)} {
			got, err := readAll(t, &cfg, stream, c...)
			if err != wantErr || !slices.Equal(got, want) {
				t.Fatalf("cut at %v: %v, %v; want %v, %v", c, got, err, want, wantErr)
			}
		}
		checkRoundTrip(t, &cfg, stream, want, wantErr)
	})
}

// checkRoundTrip writes what was read once more and reads it back.
func checkRoundTrip(t *testing.T, cfg *Config, stream []byte, msgs []message, err error) {
	t.Helper()
	if err != nil && len(stream) < 2 {
		t.Fatalf("%v from %d bytes", err, len(stream))
	}
	var again []byte
	for i, m := range msgs {
		if len(m.body) > cfg.MessageMaxBytes {
			t.Fatalf("message of %d bytes", len(m.body))
		}
		if m.op == Close {
			if i != len(msgs)-1 || err != nil {
				t.Fatal("something after a close frame")
			}
			again = AppendClose(again, m.code, m.body)
			continue
		}
		again = AppendFrame(again, m.op, []byte(m.body))
	}
	cfg.Client = true
	if got, err := readAll(t, cfg, again); err != nil || !slices.Equal(got, msgs) {
		t.Fatalf("written and read again: %v, %v; want %v", got, err, msgs)
	}
}
