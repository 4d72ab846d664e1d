package edge

import (
	"time"

	"github.com/godwit-im/godwit"
)

// Suspend refuses newcomers (503) until Resume, as while nobody could serve them.
// Sessions that are open stay.
func (e *Edge) Suspend() { e.paused.Store(true) }

// Resume accepts newcomers again, and asks none of them to move any more.
func (e *Edge) Resume() {
	if !e.draining.Load() {
		e.goaway.Store(nil)
	}
	e.paused.Store(false)
}

// Goaway asks every session to move, after a wait and spread over a time, also
// those that become live later.
func (e *Edge) Goaway(after, spread time.Duration) {
	frame := &godwit.ServerFrame{Kind: godwit.KindGoaway, Goaway: godwit.Goaway{
		Reason: "drain", AfterMS: uint32(after.Milliseconds()), SpreadMS: uint32(spread.Milliseconds()),
	}}
	g := new(goaway)
	var c codec
	for _, enc := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		g.framed[formOf(enc)] = c.appendFrame(nil, formOf(enc), frame)
	}
	e.goaway.Store(g) // for sessions that become live from here on
	for _, l := range e.loops {
		l.box.note(item{kind: itemGoaway}, g)
	}
}
