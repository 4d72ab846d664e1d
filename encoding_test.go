package godwit

import (
	"strings"
	"testing"
)

func TestSubprotocolChoosesEncoding(t *testing.T) {
	for _, enc := range encodings {
		if got, ok := EncodingOf(enc.Subprotocol()); !ok || got != enc {
			t.Errorf("%q chooses %v, %v", enc.Subprotocol(), got, ok)
		}
	}
	for _, name := range []string{"", "godwit.v1", "GODWIT.V1.JSON", "godwit.v2.json"} {
		if _, ok := EncodingOf([]byte(name)); ok {
			t.Errorf("%q chooses an encoding", name)
		}
	}
	if !EncodingJSON.Text() || EncodingProto.Text() {
		t.Error("JSON is text and Protobuf is not")
	}
}

func TestNextFrameCutsMessages(t *testing.T) {
	f := func(enc Encoding, message string, want ...string) {
		t.Helper()
		frames, ok := cut(enc, []byte(message))
		if !ok {
			frames = [][]byte{[]byte("malformed")}
		}
		var got []string
		for _, frame := range frames {
			got = append(got, string(frame))
		}
		if strings.Join(got, "|") != strings.Join(want, "|") || len(got) != len(want) {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
	f(EncodingJSON, "")
	f(EncodingJSON, "{}", "{}")
	f(EncodingJSON, "{}\n", "{}")
	f(EncodingJSON, "{}\n{\"id\":1}", "{}", "{\"id\":1}")
	f(EncodingJSON, "{}\r\n\n{}", "{}\r", "", "{}")
	f(EncodingProto, "")
	f(EncodingProto, "\x00", "")
	f(EncodingProto, "\x00\x00", "", "")
	f(EncodingProto, "\x02ab\x01c", "ab", "c")
	f(EncodingProto, "\x82\x00ab", "ab")
	f(EncodingProto, "\x02a", "malformed")
	f(EncodingProto, "\x80", "malformed")
	f(EncodingProto, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", "malformed")
	f(EncodingProto, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02a", "malformed")
}

// Every way to put a frame into a message gives the same bytes, and all frames
// come out of it again, whatever their length.
func TestFramesShareAMessage(t *testing.T) {
	for _, enc := range encodings {
		var joined, direct []byte
		frames := serverFrames()
		for _, frame := range frames {
			joined = AppendFrame(joined, enc, frame.AppendTo(nil, enc))
			direct = frame.AppendFrameTo(direct, enc)
		}
		for size := range 300 {
			e := Entry{Seq: 1, Msg: textMessage(strings.Repeat("x", size))}
			joined = AppendFrame(joined, enc, AppendEvent(nil, enc, &e))
			direct = AppendEventFrame(direct, enc, &e)
			frames = append(frames, &ServerFrame{Kind: KindEvent, Event: e})
		}
		if string(joined) != string(direct) {
			t.Fatalf("%s: AppendFrame and AppendFrameTo differ", enc.Subprotocol())
		}
		got, ok := cut(enc, joined)
		if !ok || len(got) != len(frames) {
			t.Fatalf("%s: %d frames of %d", enc.Subprotocol(), len(got), len(frames))
		}
		for i, frame := range frames {
			if string(got[i]) != string(frame.AppendTo(nil, enc)) {
				t.Fatalf("%s: frame %d is %q", enc.Subprotocol(), i, got[i])
			}
		}
	}
	for _, enc := range encodings {
		var joined, direct []byte
		for _, frame := range clientFrames() {
			joined = AppendFrame(joined, enc, frame.AppendTo(nil, enc))
			direct = frame.AppendFrameTo(direct, enc)
		}
		if string(joined) != string(direct) {
			t.Fatalf("%s: AppendFrame and AppendFrameTo differ for client frames", enc.Subprotocol())
		}
	}
}

func TestAppendToKeepsWhatIsThere(t *testing.T) {
	for _, enc := range encodings {
		for _, frame := range serverFrames() {
			if got, want := string(frame.AppendTo([]byte("before["), enc)), "before["+string(frame.AppendTo(nil, enc)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}
}

func TestHotFramesDoNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 1<<16)
	none := func(what string, run func()) {
		t.Helper()
		run() // scratch grows once
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	var client ClientFrame
	var server ServerFrame
	for _, enc := range encodings {
		for _, frame := range clientFrames() {
			src := frame.AppendTo(nil, enc)
			none("write "+string(src), func() { dst = frame.AppendFrameTo(dst[:0], enc) })
			none("read "+string(src), func() { mustParse(client.Parse(enc, src)) })
		}
		for _, frame := range serverFrames() {
			src := frame.AppendTo(nil, enc)
			none("write "+string(src), func() { dst = frame.AppendFrameTo(dst[:0], enc) })
			switch frame.Kind {
			case KindError:
				if frame.Error.Code != ErrRateLimited.Code {
					continue // a code of a later server
				}
				fallthrough
			case KindPing, KindSend, KindEvent, KindSkip, KindResumed, KindDone:
				if e := &frame.Event; e.Receipt != nil || e.Group != nil || e.Settings != nil {
					continue // rare bodies, behind a pointer
				}
				none("read "+string(src), func() { mustParse(server.Parse(enc, src)) })
			}
		}
		message := dst[:0]
		e := Entry{Seq: 7, Msg: textMessage("hi")}
		none("AppendEvent", func() { message = AppendEventFrame(message[:0], enc, &e) })
		none("NextFrame", func() { _, _, err := NextFrame(enc, message); mustParse(err) })
	}
}

func mustParse(err error) {
	if err != nil {
		panic(err)
	}
}

// A refused frame still tells its id, wherever it stands and unless the bytes
// before it can't be read, so that the error can name the request.
func TestRefusedFrameTellsItsID(t *testing.T) {
	f := func(enc Encoding, src string, want error, id uint64) {
		t.Helper()
		frame := ClientFrame{ID: 99}
		if err := frame.Parse(enc, []byte(src)); err != want || frame.ID != id {
			t.Errorf("%q: got %v with id %d, want %v with id %d", src, err, frame.ID, want, id)
		}
	}
	f(EncodingJSON, `{"ack":{"seq":-1},"sync":{},"id":7}`, ErrFrameInvalid, 7)
	f(EncodingJSON, `{"id":7,"future":{}}`, ErrFrameUnknown, 7)
	f(EncodingJSON, `{"future":{},"id":7}`, ErrFrameUnknown, 7)
	f(EncodingJSON, `{"id":7}`, ErrFrameUnknown, 7)
	f(EncodingJSON, `{"id":7,"ack":[]}`, ErrFrameMalformed, 7)
	f(EncodingJSON, `{"ack":[],"id":7}`, ErrFrameMalformed, 0)
	f(EncodingProto, "\x1a\x00\x3a\x00\x08\x07", ErrFrameInvalid, 7)
	f(EncodingProto, "\x08\x07\xaa\x01\x00", ErrFrameUnknown, 7)
	f(EncodingProto, "\x08\x07\x3a\x05", ErrFrameMalformed, 7)
}

func TestDeepUnknownValueIsRefused(t *testing.T) {
	f := func(depth int, want error) {
		t.Helper()
		for _, pair := range []string{"[]", `{"k":}`} {
			deep := strings.Repeat(pair[:len(pair)-1], depth-1) + "1" + strings.Repeat(pair[len(pair)-1:], depth-1)
			var frame ClientFrame
			if err := frame.Parse(EncodingJSON, []byte(`{"ack":{"x":`+deep+`}}`)); err != want {
				t.Errorf("%d values deep: got %v, want %v", depth, err, want)
			}
			checkClient(t, EncodingJSON, []byte(`{"x":`+deep+`}`))
		}
	}
	f(1, nil)
	f(depthMax, nil)
	f(depthMax+1, ErrFrameMalformed)
	f(30000, ErrFrameMalformed) // deeper than encoding/json goes
}

func TestListsAreBounded(t *testing.T) {
	for _, enc := range encodings {
		for _, n := range []int{listMax, listMax + 1} {
			users := make([][]byte, n)
			frame := ClientFrame{ID: 1, Kind: KindPresence, Presence: Presence{Get: users}}
			src := frame.AppendTo(nil, enc)
			checkClient(t, enc, src)
			var got ClientFrame
			if err := got.Parse(enc, src); (err == nil) != (n == listMax) || len(got.Presence.Get) != listMax {
				t.Errorf("%s: %d users: %v, kept %d", enc.Subprotocol(), n, err, len(got.Presence.Get))
			}
			for _, frame := range []ClientFrame{
				{ID: 1, Kind: KindPresence, Presence: Presence{Watch: users, HasWatch: true}},
				{ID: 1, Kind: KindGroup, Group: Group{Users: users}},
				{ID: 1, Kind: KindBlock, Block: People{Add: users}},
				{ID: 1, Kind: KindContact, Contact: People{Remove: users}},
				{ID: 1, Kind: KindConnect, Connect: Connect{Resume: Resume{Set: true, Channels: make([]ChannelPlace, n)}}},
			} {
				src := frame.AppendTo(nil, enc)
				checkClient(t, enc, src)
				if err := got.Parse(enc, src); (err == nil) != (n == listMax) {
					t.Errorf("%s: %d elements of a list of frame %d: %v", enc.Subprotocol(), n, frame.Kind, err)
				}
			}
		}
	}
}

// Bytes that are no UTF-8 would make every client refuse the frame for ever.
func TestInvalidUTF8IsReplacedOnTheWayOut(t *testing.T) {
	e := Entry{Seq: 1, Msg: textMessage("a\xff\xfeb")}
	var got ServerFrame
	for _, enc := range encodings {
		if err := got.Parse(enc, AppendEvent(nil, enc, &e)); err != nil || string(got.Event.Msg.Body) != "a\uFFFDb" {
			t.Errorf("%s: %v, body %q", enc.Subprotocol(), err, got.Event.Msg.Body)
		}
	}
}

func TestFrameWithForeignKindPanics(t *testing.T) {
	f := func(run func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		run()
	}
	f(func() { (&ClientFrame{Kind: KindGoaway}).AppendTo(nil, EncodingJSON) })
	f(func() { (&ServerFrame{Kind: KindAck}).AppendTo(nil, EncodingJSON) })
}

func TestPlainLenStopsAtWhatNeedsAnEscape(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			v := []byte(strings.Repeat("\u00e9a!]#[", 4))
			v[at] = byte(c)
			want := len(v)
			if c < 0x20 || c == '"' || c == '\\' {
				want = at
			}
			if got := plainLen(v); got != want {
				t.Fatalf("byte %#x at %d: %d", c, at, got)
			}
			if got := plainLen(v[:at]); got != at {
				t.Fatalf("%d plain bytes: %d", at, got)
			}
		}
	}
}
