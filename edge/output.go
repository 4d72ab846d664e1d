package edge

// outbox collects what one callback writes, so that each connection gets one
// write for it. Only its loop touches it; it is empty between callbacks.
type outbox struct {
	pieces []piece
	dirty  []*session
	iov    [][]byte
	flat   []byte
	own    []byte // bytes made on the loop itself; earlier pieces keep their arrays when it grows
	ownAt  int    // where the piece that own ends with begins
	ownIn  int32  // that piece, index + 1; 0: there is none
}

// piece is a part of one session's output: bytes that stay as they are until
// the flush, and the next part as index + 1.
type piece struct {
	b    []byte
	next int32
}

const (
	iovecsMax     = 8        // more would make the system call's wrapper allocate
	flatBytes     = 16 << 10 // several pieces up to this size are joined: cheaper than a vector
	flatKeepBytes = 256 << 10
)

// emit adds output for a session; b must not change before the flush.
func (o *outbox) emit(s *session, b []byte) {
	if len(b) == 0 {
		return
	}
	o.pieces = append(o.pieces, piece{b: b})
	at := int32(len(o.pieces))
	if s.outTail == 0 {
		s.outHead = at
		o.dirty = append(o.dirty, s)
	} else {
		o.pieces[s.outTail-1].next = at
	}
	s.outTail = at
}

// begin returns own for appending and where the new bytes start; end emits them.
func (o *outbox) begin() (dst []byte, start int) { return o.own, len(o.own) }

func (o *outbox) end(s *session, dst []byte, start int) {
	if len(dst) == start {
		return
	}
	o.own = dst
	if s.outTail != 0 && s.outTail == o.ownIn { // it goes on where the session's last piece ended
		o.pieces[o.ownIn-1].b = dst[o.ownAt:len(dst):len(dst)]
		return
	}
	o.emit(s, dst[start:len(dst):len(dst)])
	o.ownAt, o.ownIn = start, s.outTail
}

// flush writes what the callback collected. Writing may close a connection at
// once and re-enter OnClose, which frees its session: conn is nil from then on.
func (l *loop) flush() {
	o := &l.out
	for i := 0; i < len(o.dirty); i++ { // closing a slow reader may add to dirty
		s := o.dirty[i]
		head := s.outHead
		s.outHead, s.outTail = 0, 0
		if s.conn != nil && head != 0 {
			l.write(s, head)
		}
		if s.conn != nil && s.hangUp {
			l.finish(s)
		}
	}
	clear(o.dirty)
	clear(o.pieces)
	clear(o.iov)
	o.dirty, o.pieces, o.iov, o.own, o.ownIn = o.dirty[:0], o.pieces[:0], o.iov[:0], o.own[:0], 0
	if cap(o.flat) > flatKeepBytes {
		o.flat = nil
	}
	if cap(o.own) > flatKeepBytes {
		o.own = nil
	}
}

// write sends one session's pieces with one system call and holds the session
// to its outbound bound.
func (l *loop) write(s *session, head int32) {
	o := &l.out
	count, size := 0, 0
	for at := head; at != 0; at = o.pieces[at-1].next {
		count++
		size += len(o.pieces[at-1].b)
	}
	l.stats.bytesOut.Add(uint64(size))
	switch {
	case count == 1:
		_, _ = s.conn.Write(o.pieces[head-1].b)
	case size <= flatBytes || count > iovecsMax:
		o.flat = o.flat[:0]
		for at := head; at != 0; at = o.pieces[at-1].next {
			o.flat = append(o.flat, o.pieces[at-1].b...)
		}
		_, _ = s.conn.Write(o.flat)
	default:
		o.iov = o.iov[:0]
		for at := head; at != 0; at = o.pieces[at-1].next {
			o.iov = append(o.iov, o.pieces[at-1].b)
		}
		_, _ = s.conn.Writev(o.iov)
	}
	// A write error has closed the connection: nothing is left to do here.
	if s.conn != nil && s.state != stateClosing && s.conn.OutboundBuffered() > l.outboundBytesMax(s) {
		l.closeSession(s, closeSlowConsumer)
	}
}
