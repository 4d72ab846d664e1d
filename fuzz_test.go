package godwit

import (
	"bytes"
	"slices"
	"testing"
)

// awkwardJSON are frames that two readers of JSON could take differently.
var awkwardJSON = []string{
	``, ` `, `null`, `[]`, `{`, `{}`, " {\t}\r\n", `{}{}`, `{} x`, `{"id":0}`, `{"id":7}`, `{"id":null}`, `{"mark":null}`, `{"mark":{}}`,
	`{"ID":1,"ack":{"seq":1}}`, `{"ack":{"SEQ":1}}`, `{"\u0061ck":{"s\u0065q":1}}`, `{"ack":{"seq":1}, "id":9, "sync":{}}`,
	`{"ack":{"seq":1},"ack":{"seq":2}}`, `{"ack":null,"ack":{}}`, `{"ack":{"seq":1,"seq":1}}`, `{"x":1,"x":2,"ack":{}}`,
	`{"ack":{"seq":-1}}`, `{"ack":{"seq":-0}}`, `{"ack":{"seq":01}}`, `{"ack":{"seq":1.0}}`, `{"ack":{"seq":1e2}}`, `{"ack":{"seq":1.}}`,
	`{"ack":{"seq":1e}}`, `{"ack":{"seq":+1}}`, `{"ack":{"seq":"1"}}`, `{"ack":{"seq":true}}`, `{"ack":{"seq":9007199254740991}}`,
	`{"ack":{"seq":9007199254740992}}`, `{"ack":{"seq":18446744073709551615}}`, `{"ack":{"seq":18446744073709551616}}`,
	`{"ack":{"seq":99999999999999999999999999}}`, `{"ack":[]}`, `{"ack":{"seq":1,}}`, `{"ack":{,"seq":1}}`, `{"ack":{"seq" 1}}`, `{"ack",{"seq":1}}`, `{"ack"  {"seq":1}}`, `{"x",1,"ack":{}}`, `{"x":{"y",1},"ack":{}}`, `{"ack":{seq:1}}`,
	`{"ack":{"seq":1}"id":1}`, `{"sync":{"limit":4294967295}}`, `{"sync":{"limit":4294967296}}`, `{"x":[1,[2,{"y":[]}],"z\n"],"ack":{}}`,
	`{"x":[1,],"ack":{}}`, `{"x":[,1],"ack":{}}`, `{"x":nul,"ack":{}}`, `{"x":tru,"ack":{}}`, `{"x":-,"ack":{}}`, `{"x":.5,"ack":{}}`, `{"x":-1.5e+09,"ack":{}}`,
	`{"send":{"text":"\ud83d\ude00\u00e9\/\b\f\n\r\t\"\\"}}`, `{"send":{"text":"\ud83d"}}`, `{"send":{"text":"\ude00\ud83d"}}`, `{"send":{"text":"\ud83d\ud83d\ude00"}}`,
	`{"send":{"text":"\ud83dA"}}`, `{"send":{"text":"\u12"}}`, `{"send":{"text":"\x41"}}`, `{"send":{"text":"\u0000"}}`, "{\"send\":{\"text\":\"a\nb\"}}",
	"{\"send\":{\"text\":\"\\n\n\"}}", "{\"send\":{\"text\":\"\\n\x1f\"}}", "{\"send\":{\"text\":\"\xff\"}}", "{\"send\":{\"text\":\"\xed\xa0\x80\"}}", "{\"x\xff\":1}", "{\"ack\":\x00{}}", "\ufeff{}",
	`{"send":{"data":""}}`, `{"send":{"data":"AP8="}}`, `{"send":{"data":"AP8"}}`, `{"send":{"data":"AP9="}}`, `{"send":{"data":"-_8="}}`, `{"send":{"data":"AP\n8="}}`, `{"send":{"data":[0]}}`,
	`{"send":{"text":"a","data":"AA=="}}`, `{"send":{"to":"\u0062ob","cid":"\u0063","text":"\u0074\ud83d\ude00","data":"\u0041A==","type":"a\/b"}}`, `{"send":null}`, `{"send":{"text":null,"to":"b"}}`, `{"connect":{"caps":[]}}`, `{"connect":{"caps":[null]}}`,
	`{"connect":{"caps":"a"}}`, `{"connect":{"caps":null,"resume":null}}`, `{"connect":{"resume":{}}}`, `{"connect":{"resume":{"stamp":"465223887110471681"},"stamp":"1"}}`, `{"connect":{"resume":{"stamp":7}}}`, `{"history":{"after":0}}`, `{"presence":{"get":["bob",1]}}`,
	`{"ev":{"seq":5,"receipt":{}}}`, `{"ev":{}}`, `{"ev":{"skip":{"from":2,"to":1}}}`, `{"ev":{"skip":{"from":1,"to":1}}}`, `{"ev":{"seq":1,"skip":{"from":1,"to":1}}}`,
	`{"ev":{"seq":1,"msg":{}}}`, `{"ev":{"seq":1,"msg":{"mid":"AAAAAAAAAAAAAAAAAAAAAB"}}}`, `{"ev":{"seq":1,"msg":{"text":"","data":""}}}`,
	`{"send":{"mid":"AAAAAAAAAAAAAAAAAAAAA\n"}}`, `{"send":{"mid":"AAAAAAAAAAAAAAAAAAAAAA"}}`, `{"skip":{"from":0,"to":0}}`, `{"sync":{"entries":[{}]}}`,
	`{"presence":{"watch":[]}}`, `{"presence":{"watch":[],"watching":false}}`, `{"presence":{"watching":true,"get":[]}}`, `{"presence":{"watch":null}}`, `{"presence":{"watch":"bob"}}`,
	`{"eph":{}}`, `{"eph":{"later":1}}`, `{"eph":{"typing":null}}`, `{"eph":{"typing":{},"presence":{}}}`, `{"eph":{"receipt":{}}}`, `{"eph":{"receipt":{"conv":"g:42","user":"bob","delivered":2,"read":1,"unread":3}}}`, `{"eph":{"presence":{},"receipt":null}}`, `{"eph":{"typing":{}},"ev":{"seq":1,"msg":{}}}`,
	`{"ev":{"gseq":5}}`, `{"ev":{"seq":1,"gseq":5}}`, `{"ev":{"gseq":1,"skip":{"from":1,"to":1}}}`, `{"ev":{"seq":1,"msg":{},"edit":{}}}`, `{"ev":{"seq":1,"edit":{}}}`,
	`{"ev":{"seq":1,"recall":{"text":"a","edited":1,"recalled":true}}}`, `{"ev":{"seq":1,"msg":{"text":"a","recalled":true}}}`, `{"ev":{"seq":1,"group":{"users":["a",""]}}}`,
	`{"conversation":{"pin":false,"mute":0,"archive":null}}`, `{"conversation":{"pin":0}}`, `{"conversation":{"mute":-1}}`, `{"group":{"name":"","users":[]}}`, `{"group":{"name":null,"limit":4294967296}}`,
	`{"edit":{"mid":"x","text":"","data":""}}`, `{"recall":{"mid":7}}`, `{"block":{"add":["a"],"remove":["b"]}}`, `{"contact":{},"block":{}}`, `{"connect":{"resume":{"channels":[{},{"gseq":1}]}}}`,
	`{"history":{"gafter":0,"after":0}}`, `{"send":{"gseq":1}}`, `{"group":{"members":[{}],"groups":[{}]}}`, `{"device":{"devices":[{}]}}`, `{"done":{"seq":1}}`, `{"channel":{"reset":false}}`,
	`{"conversations":{"items":[{"last":{"seq":1,"msg":{}}},{}]}}`, `{"connect":{"resumed":1}}`, `{"connect":{"limits":{"frame":1}}}`,
}

// awkwardProto are frames that two readers of Protobuf could take differently.
var awkwardProto = []string{
	"", "\x00", "\x00\x01", "\x02\x00", "\x02\x01a", "\x08", "\x08\x01", "\x08\x01\x08\x00", "\x08\x80", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
	"\x08\xff\xff\xff\xff\xff\xff\xff\x0f:\x00", "\x08\xff\xff\xff\xff\xff\xff\xff\x10:\x00", ":\x00", ":\x02\x08\x05", ":\x04\x08\x05\x08\x06", ":\x00:\x02\x08\x01",
	":\x03\x08\x05", "\x12\x02\x22\x02\x10\x05", ":\x01\x15\x00\x00\x00\x00", ":\x01\x11\x00\x00\x00\x00\x00\x00\x00\x00", "\x12\x01\x0a\x01a", ":\x01\x08", ":\x02\x0a\x00", ":\x02\x0b\x0c", "\x0b\x0c", "\x0b", "\x0c", "\x0e\x00", "\x0f", ";<", "8\x01", "8\x01:\x00", "=\x01\x02\x03\x04", "9\x01",
	"\xb8\x80\x00\x02\x08\x05", "\xf8\xff\xff\xff\x0f\x01", "\xf8\xff\xff\xff\xff\x01\x01", "\xf8\xff\xff\xff\xff\x7f\x01", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02",
	"\"\x06\x20\xff\xff\xff\xff\x0f", "\"\x06\x20\xff\xff\xff\xff\x1f", "\"\x0a8\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x1a\x03\x22\x01\xff", "\x1a\x03\x2a\x01\xff",
	"\x1a\x04\x22\x00\x2a\x00", "\x1a\x0b8\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x12\x04\x22\x00\x22\x00", "\x12\x06\x1a\x01a\x1a\x01b", ":\x00\x1a\x00", "B\x03\x0a\x01a",
	"B\x02\x18\x01", "B\x05\x12\x01b\x18\x00", "B\x06\x12\x01b\x0a\x01c", "R\x03\x0a\x01b", "\x82\x01\x03\x0a\x01b", "\x82\x01\x00\x82\x01\x00", "\x8a\x01\x03\x12\x01b", "\x92\x01\x04\x10\x00\x18\x00",
	"\x92\x01\x06\x18\x02\x20\x01\x20\x00", "\xa2\x01\x00", "\xa2\x01\x02\x0a\x00", "\xa2\x01\x04\x0a\x00\x12\x00", "\xa2\x01\x04\x12\x00\x1a\x00", "\xa2\x01\x04\x1a\x00\x1a\x00", "\xa2\x01\x06\x1a\x04\x18\x02\x20\x01", "\xa2\x01\x02\x1a\x00", "\xa2\x01\x02\x22\x00", "\xaa\x01\x02\x18\x02", ":\x02\x20\x05", ":\x04\x08\x01\x2a\x00", ":\x06\x08\x01\x2a\x00\x32\x00",
	":\x07\x08\x01\x12\x03\x32\x01a", ":\x08\x08\x01\x3a\x04\x32\x00\x50\x01", ":\x04\x08\x01\x4a\x00", "z\x02\x08\x01", "\x80\x01\x01", "\x80\x81\x01\x01",
	":\x04\x08\x01\x12\x00", ":\x04\x08\x01\x1a\x00", ":\x06\x1a\x04\x08\x01\x10\x01", ":\x08\x08\x01\x12\x04\x32\x00\x3a\x00", "\x12\x02\x28\x02", "\x12\x02r\x00",
}

func FuzzClientFrameJSON(f *testing.F) {
	for _, frame := range clientFrames() {
		f.Add(frame.AppendTo(nil, EncodingJSON))
	}
	addAll(f, awkwardJSON)
	f.Fuzz(func(t *testing.T, src []byte) { checkClient(t, EncodingJSON, src) })
}

func FuzzClientFrameProto(f *testing.F) {
	for _, frame := range clientFrames() {
		f.Add(frame.AppendTo(nil, EncodingProto))
	}
	addAll(f, awkwardProto)
	f.Fuzz(func(t *testing.T, src []byte) { checkClient(t, EncodingProto, src) })
}

func FuzzServerFrameJSON(f *testing.F) {
	for _, frame := range serverFrames() {
		f.Add(frame.AppendTo(nil, EncodingJSON))
	}
	addAll(f, awkwardJSON)
	f.Fuzz(func(t *testing.T, src []byte) { checkServer(t, EncodingJSON, src) })
}

func FuzzServerFrameProto(f *testing.F) {
	for _, frame := range serverFrames() {
		f.Add(frame.AppendTo(nil, EncodingProto))
	}
	addAll(f, awkwardProto)
	f.Fuzz(func(t *testing.T, src []byte) { checkServer(t, EncodingProto, src) })
}

// FuzzNextFrame cuts a message into frames and demands that they are all of it,
// and that what was cut, put together again, is cut alike.
func FuzzNextFrame(f *testing.F) {
	f.Add([]byte("{}\n{\"id\":1}\n"))
	f.Add([]byte("\x00\x02\x08\x01\x80\x00"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, message []byte) {
		lines, ok := cut(EncodingJSON, message)
		if joined := bytes.Join(lines, []byte("\n")); !ok || !bytes.Equal(joined, bytes.TrimSuffix(message, []byte("\n"))) {
			t.Fatalf("%q cut to %q", message, lines)
		}
		frames, ok := cut(EncodingProto, message)
		if !ok {
			return
		}
		var joined []byte
		for _, frame := range frames {
			joined = AppendFrame(joined, EncodingProto, frame)
		}
		if again, ok := cut(EncodingProto, joined); !ok || !slices.EqualFunc(frames, again, bytes.Equal) || len(joined) > len(message) {
			t.Fatalf("%q cut to %q, joined to %q, cut to %q", message, frames, joined, again)
		}
	})
}

func cut(enc Encoding, message []byte) (frames [][]byte, ok bool) {
	for len(message) > 0 {
		frame, rest, err := NextFrame(enc, message)
		if err != nil {
			return nil, false
		}
		frames, message = append(frames, frame), rest
	}
	return frames, true
}

func addAll(f *testing.F, seeds []string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
}
