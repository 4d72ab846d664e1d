package load

import (
	"time"

	"github.com/godwit-im/godwit"
)

// state is how far a session's connection is.
type state uint8

const (
	stateClosed     state = iota
	stateConnecting       // TCP
	stateUpgrading        // HTTP
	stateOpening          // connect frame sent
	stateReplaying        // connect reply seen, entries missed are on their way
	stateOpen
)

// operation is one thing a session is asked to do.
type operation struct {
	kind   operationKind
	tries  uint8  // of a scan, refused for the moment
	id     uint64 // of the request; 0: not sent on the present connection
	number uint32 // opSend: of the message
	after  godwit.Seq
	due    time.Duration // since the start of the run
}

type operationKind uint8

const (
	opSend     operationKind = iota // store a message
	opHistory                       // read a page of history and compare it
	opReadBack                      // read the whole history, page by page
	opProbe                         // ask for anything: is the session alive?
)

// session is one user's only connection. Buffers are borrowed while there is
// something in them, so that an idle session costs the generator little too.
type session struct {
	fd        int32
	attempts  int32 // failed connects in a row
	unacked   int32
	inFlight  int32  // limits.inflight
	remaining int32  // closed loop: operations left to begin
	node      uint16 // position in loop.nodes and one; 0: not known
	state     state
	reading   bool          // false: a slow consumer that lets its data lie
	writing   bool          // waiting until the socket takes more
	dirty     bool          // in loop.dirty: out must be written at the end of the round
	known     bool          // it was open before: epoch and cursor are set, resume
	replaced  bool          // it was cut on purpose: its connect counts as a resume
	storming  bool          // its connect is an operation of the measure stage
	owing     bool          // in loop.owing
	stalled   bool          // it was a slow consumer and has not been cut off
	held      bool          // it was found held back at the window
	answered  bool          // it answered in the verify stage
	cursored  bool          // of long-polls: the cursor of this answer has come
	retry     time.Duration // when it is dialled again; while it is opening, when that is given up
	due       time.Duration // when the present connect was due
	in, out   []byte
	queue     []operation // due, not sent; bounded by the schedule
	flight    []operation // sent, not answered; at most limits.inflight
	nextID    uint64
	asked     uint64 // requests of a slow consumer whose answers nobody waits for
	epoch     string // shared, see loop.epoch; of long-polls the cursor
}

// take removes the operation that a reply names. Replies come mostly in order.
func (s *session) take(id uint64) (o operation, ok bool) {
	for i := range s.flight {
		if s.flight[i].id == id {
			o = s.flight[i]
			s.flight = append(s.flight[:i], s.flight[i+1:]...)
			if len(s.flight) == 0 && cap(s.flight) > 16 {
				s.flight = nil
			}
			return o, true
		}
	}
	return o, false
}

// requeue puts what was not answered before what was not sent: the order in
// which a client must repeat.
func (s *session) requeue() {
	if len(s.flight) == 0 {
		return
	}
	for i := range s.flight {
		s.flight[i].id = 0
	}
	s.queue = append(s.flight, s.queue...)
	s.flight = nil
}
