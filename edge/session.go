package edge

import (
	"strconv"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/ws"
)

// state is where a connection stands. Arrows: head → verifying (a token came
// with the upgrade) → head's upgrade → first → token → opening → live, and from
// anywhere to closing.
type state uint8

const (
	stateFree        state = iota
	stateHead              // a request head is awaited or arriving
	stateVerifying         // the upgrade waits for its token; its head stays in the inbound buffer
	stateFirst             // upgraded; the connect frame is awaited
	stateToken             // the connect frame's token is being verified
	stateOpening           // the chat tier was asked to open the session
	stateLive              // frames flow
	stateEcho              // messages go back as they come
	statePollOpening       // the chat tier was asked to open a poll's session
	statePoll              // a poll is held, or collects frames
	stateCallOpening       // the chat tier was asked whether the token of a call is still good
	stateCall              // replies to the commands of a call are awaited
	stateWeb               // an HTTP handler's answer is awaited
	stateClosing           // a close frame or a last answer was written; input is thrown away
)

// session is one connection. Only its loop touches it. While idle it holds no
// buffers: a message in the middle of its fragments borrows one from the loop.
type session struct {
	conn       stream // nil: the slot is free
	user       godwit.UserID
	device     string
	flow       delivery
	opening    *opening   // from the upgrade to live, else nil
	exchange   *exchange  // from an HTTP request's head to its answer, else nil
	lent       *ws.Buffer // a message in the middle of its fragments, else nil
	kept       *kept      // what it takes to be opened again, beside what stands here; nil: nothing
	source     source     // where it is counted as not yet authenticated
	expires    int64      // token's end, ms since the Unix epoch; 0: never
	issued     int64      // when the token was issued, likewise; 0: it does not say
	stamp      uint64     // see Config.Stamp; set when the chat tier is asked
	reader     ws.Reader
	slot       uint32
	gen        uint32
	attachment uint32 // of the chat tier that was asked to open it; see Edge.Hold
	epoch      uint32 // of its user's log, in loop.epochs; with Config.Hold
	need       uint32 // inbound bytes without which parsing makes no progress
	deadline   uint32 // tick at which the state must have changed; not for live
	pingAt     uint32 // tick of the next server ping
	checkAt    uint32 // tick of the next head compare
	heardAt    uint32 // tick of the last inbound bytes
	tokens     uint32 // quarter sends left in the rate bucket
	tokensAt   uint32 // tick of its last refill
	frameDebt
	ctlAt    uint32 // tick of ctls
	ignored  uint32 // bytes thrown away while closing
	outHead  int32  // first and last piece of output of this callback, index + 1
	outTail  int32
	ctls     uint16 // control frames within one tick
	inFlight uint16 // requests the chat tier has not answered
	state    state
	encoding godwit.Encoding
	window   uint8 // of permessage-deflate, in bits; 0: not agreed on
	loop     uint8
	upgraded bool // speaks WebSocket
	echoes   bool // at the echo endpoint
	served   bool // an HTTP request was answered on this connection
	renewing bool // a new token is being verified
	bearer   bool // user and expires come from a token of the upgrade
	joined   bool // Chat.Connect was called and Disconnect is owed
	held     bool // live, and not opened by the attachment there is
	shaking  bool // holds a place among the handshakes
	hangUp   bool // close the connection once the output is written
	agreed   bool // the client sent a close frame
	shut     bool // our half of the connection is shut down
}

// opening is what a session needs only until it is live.
type opening struct {
	hello Hello  // its Stamp is the client's echo until the chat tier is asked
	id    uint64 // of the connect frame; its reply carries it
	ahead []byte // what followed the connect frame in its message, or stood in its place
}

// setIdentity notes whom a verified token speaks for.
func (s *session) setIdentity(who godwit.Identity) {
	s.user, s.expires, s.issued = who.User, who.Expires, who.Issued
}

func (s *session) identity() godwit.Identity {
	return godwit.Identity{User: s.user, Expires: s.expires, Issued: s.issued}
}

// form is how a session's frames look, so that one that was made for a session
// serves all others of the same form.
type form uint8

const (
	formProto   form = 1 << iota // else JSON
	formDeflate                  // may come compressed for a window of 32 KiB
	forms
)

func formOf(enc godwit.Encoding) form {
	if enc == godwit.EncodingProto {
		return formProto
	}
	return 0
}

func (f form) encoding() godwit.Encoding {
	if f&formProto != 0 {
		return godwit.EncodingProto
	}
	return godwit.EncodingJSON
}

// form of a session: to the rare client that demands a smaller window, frames
// that may be shared go uncompressed.
func (s *session) form() form {
	if s.window == ws.WindowBitsMax {
		return formOf(s.encoding) | formDeflate
	}
	return formOf(s.encoding)
}

// The bits of a godwit.SessionID, from the lowest: form, loop, slot, generation,
// and from godwit.SessionEdgeShift on 0. Reply and Deliver read the first two
// without a lock.
const (
	formBits = 2
	loopBits = 6
	slotBits = 22
	genMax   = 1<<(godwit.SessionEdgeShift-formBits-loopBits-slotBits) - 1

	loopShift = formBits
	slotShift = loopShift + loopBits
	genShift  = slotShift + slotBits

	slotsMax = 1 << slotBits
)

func makeID(f form, loop int, slot, gen uint32) godwit.SessionID {
	return godwit.SessionID(uint64(f) | uint64(loop)<<loopShift | uint64(slot)<<slotShift | uint64(gen)<<genShift)
}

func idForm(id godwit.SessionID) form   { return form(id) & (forms - 1) }
func idLoop(id godwit.SessionID) int    { return int(id>>loopShift) & (loopsMax - 1) }
func idSlot(id godwit.SessionID) uint32 { return uint32(id>>slotShift) & (slotsMax - 1) }
func idGen(id godwit.SessionID) uint32  { return uint32(id >> genShift) }

// sessionName is how a client sees its session.
func sessionName(id godwit.SessionID) string { return "s" + strconv.FormatUint(uint64(id), 36) }

// table holds the sessions of one loop in chunks that never move, so that a
// pointer stays valid as long as its connection.
type table struct {
	chunks [][]session
	free   []uint32
	used   int
}

const chunkSessions = 256

// take returns a free session of a new generation, or nil if all slots are
// taken. fresh is the number of slots that exist afterwards.
func (t *table) take() (s *session, slots int) {
	if len(t.free) == 0 && !t.grow() {
		return nil, t.slots()
	}
	slot := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	t.used++
	s = t.at(slot)
	*s = session{slot: slot, gen: s.gen + 1, state: stateHead}
	return s, t.slots()
}

func (t *table) grow() bool {
	first := t.slots()
	if first >= slotsMax {
		return false
	}
	t.chunks = append(t.chunks, make([]session, chunkSessions))
	for slot := first + chunkSessions; slot > first; slot-- {
		t.free = append(t.free, uint32(slot-1))
	}
	return true
}

// give frees a session. A slot whose generations are used up is never used
// again, so that no SessionID comes twice.
func (t *table) give(s *session) {
	slot, gen := s.slot, s.gen
	*s = session{slot: slot, gen: gen}
	t.used--
	if gen < genMax {
		t.free = append(t.free, slot)
	}
}

func (t *table) slots() int { return len(t.chunks) * chunkSessions }

func (t *table) at(slot uint32) *session { return &t.chunks[slot/chunkSessions][slot%chunkSessions] }

// find returns the session of an id, or nil if it is gone.
func (t *table) find(id godwit.SessionID) *session {
	slot := idSlot(id)
	if int(slot) >= t.slots() {
		return nil
	}
	if s := t.at(slot); s.state != stateFree && s.gen == idGen(id) {
		return s
	}
	return nil
}

// each calls fn for every open session; fn may close it.
func (t *table) each(fn func(*session)) {
	for _, chunk := range t.chunks {
		for i := range chunk {
			if chunk[i].state != stateFree {
				fn(&chunk[i])
			}
		}
	}
}
