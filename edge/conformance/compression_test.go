package conformance

import (
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

// compression is groups 12 and 13: five kinds of content with the usual offer, then
// one kind with every combination of parameters; 1,000 messages of each size, of
// which a plain test run makes fewer.
func compression() (list []testCase) {
	for i, c := range contents() {
		list = append(list, sizes(fmt.Sprintf("12.%d", i+1), c, offer, agreement)...)
	}
	json := contents()[0]
	for i, o := range []struct{ offer, agreed string }{
		{offer, agreement},
		{offer + "; server_no_context_takeover", agreement},
		{offer + "; server_max_window_bits=9", agreement + "; server_max_window_bits=9"},
		{offer + "; server_max_window_bits=15", agreement + "; server_max_window_bits=15"},
		{offer + "; server_no_context_takeover; server_max_window_bits=9", agreement + "; server_max_window_bits=9"},
		{offer + "; server_no_context_takeover; server_max_window_bits=15", agreement + "; server_max_window_bits=15"},
		{
			offer + "; server_no_context_takeover; server_max_window_bits=9, " + offer + "; server_no_context_takeover, " + offer,
			agreement + "; server_max_window_bits=9",
		},
	} {
		list = append(list, sizes(fmt.Sprintf("13.%d", i+1), json, o.offer, o.agreed)...)
	}
	return list
}

const (
	offer     = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
	agreement = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)

// messageSizes are the bytes of a message and of its frames; 0: one frame.
var messageSizes = [][2]int{
	{16, 0},
	{64, 0},
	{256, 0},
	{1024, 0},
	{4096, 0},
	{8192, 0},
	{16384, 0},
	{32768, 0},
	{65536, 0},
	{131072, 0},
	{8192, 256},
	{16384, 256},
	{32768, 256},
	{65536, 256},
	{131072, 256},
	{131072, 1024},
	{131072, 4096},
	{131072, 32768},
}

func sizes(id string, c content, offer, agreed string) (list []testCase) {
	for i, size := range messageSizes {
		list = append(list, testCase{id: fmt.Sprintf("%s.%d", id, i+1), offer: offer, run: func(p *peer) {
			if p.agreed != agreed {
				fail("the server agreed to %q, want %q", p.agreed, agreed)
			}
			bytes, fragment := size[0], size[1]
			count, at := counts(1000, 2), 0 // the second shows that nothing of the first is remembered
			for range count {
				body := (c.data + c.data)[at : at+bytes]
				at = (at + bytes) % len(c.data)
				packed := p.compress(body)
				frames := []frame{{op: c.op, rsv: 4, payload: packed}}
				if fragment > 0 {
					frames = split(c.op, 4, packed, fragment)
				}
				exchangeOne(p, c.event(body), frames)
			}
			if bytes >= 1024 && c.small && p.packed != count {
				fail("%d of %d answers were compressed", p.packed, count)
			}
			p.close()
		}})
	}
	return list
}

// exchangeOne sends while it reads, as a message may exceed the socket's buffers.
func exchangeOne(p *peer, want event, frames []frame) {
	var sent sync.WaitGroup
	sent.Go(func() { p.send(frames...) })
	defer sent.Wait()
	p.want(want)
}

// compress makes the payload of a compressed message, without remembering others.
func (p *peer) compress(body string) string {
	p.out.Reset()
	if p.writer == nil {
		p.writer, _ = flate.NewWriter(nil, 5)
	}
	p.writer.Reset(&p.out)
	_, _ = p.writer.Write([]byte(body))
	_ = p.writer.Flush()
	return strings.TrimSuffix(p.out.String(), "\x00\x00\xff\xff")
}

// content is what the messages of a case are cut from, at least as long as the
// longest. small: it does compress.
type content struct {
	data  string
	op    byte
	small bool
}

func (c content) event(body string) event {
	if c.op == opText {
		return text(body)
	}
	return binaryOf(body)
}

// contents are like those of the public list: JSON, a bitmap, prose, HTML, and a
// document whose parts are compressed already.
var contents = sync.OnceValue(func() []content {
	const least = 200_000
	rng := rand.New(rand.NewPCG(12, 13))
	words := strings.Fields("Habe nun ach Philosophie Juristerei und Medizin und leider auch Theologie durchaus studiert mit heissem Bemuehn Da steh ich nun ich armer Tor")
	word := func() string { return words[rng.IntN(len(words))] }
	var records []map[string]any
	var prose, page, document strings.Builder
	page.WriteString("<!doctype html><html><head><title>Faust</title></head><body>\n")
	for page.Len() < least || prose.Len() < least {
		records = append(records, map[string]any{"id": rng.Uint32(), "name": word() + " " + word(), "tags": []string{word(), word()}, "score": rng.Float64(), "active": rng.IntN(2) == 0, "note": word() + " " + word() + " " + word()})
		fmt.Fprintf(&prose, "%s %s %s, %s %s\n", word(), word(), word(), word(), word())
		fmt.Fprintf(&page, "<p class=\"c%d\"><a href=\"/%s/%d\">%s</a> %s %s</p>\n", rng.IntN(9), word(), rng.IntN(1000), word(), word(), word())
	}
	asJSON, _ := json.MarshalIndent(records, "", "  ")
	bitmap := make([]byte, 512*512)
	for i := range bitmap {
		bitmap[i] = byte((i%512+i/512)/4 + rng.IntN(4))
	}
	for document.Len() < least {
		block := make([]byte, 6000)
		for i := range block {
			block[i] = byte(rng.Uint32())
		}
		fmt.Fprintf(&document, "%d 0 obj << /Length %d /Filter /FlateDecode >> stream\n%s\nendstream endobj\n", document.Len(), len(block), block)
		document.WriteString(base64.StdEncoding.EncodeToString(block[:600]))
	}
	return []content{
		{string(asJSON), opText, true},
		{string(bitmap), opBinary, false},
		{prose.String(), opBinary, true},
		{page.String(), opText, true},
		{document.String(), opBinary, false},
	}
})
