package chat

import (
	"strings"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
)

const (
	// markRestTicks lie between two commands of one user and conversation: a reader
	// who scrolls through 1,000 messages costs a few entries, not 1,000.
	markRestTicks = int(time.Second / TickInterval)
	// marksMax bounds the conversations that rest. Overflow: the marks of further
	// ones are proposed at once, each by itself.
	marksMax = 1 << 16
	// markWaitersMax bounds the requests that wait for one command. Overflow: it is
	// proposed before its time.
	markWaitersMax = 64
)

// marks gathers marks: the first of a conversation is proposed at once, those that
// follow within a second together when it is over.
type marks struct {
	service *Service

	mu      sync.Mutex
	now     int // ticks, modulo the slots
	resting map[markKey]*gatheredMarks
	slots   [markRestTicks][]*gatheredMarks // by the tick at which their rest ends
}

type markKey struct {
	user godwit.UserID
	peer string // as in the key of the conversation's row
}

// gatheredMarks is what came while a conversation rests.
type gatheredMarks struct {
	key             markKey
	delivered, read godwit.Seq // 0: nothing came
	waiting         []*request
}

// mark moves the reader's marks of a conversation.
func (s *Service) mark(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Mark) {
	peer, refusal := peerOf(f.Conv)
	switch {
	case refusal != nil:
	case f.Delivered == 0 && f.Read == 0:
		refusal = godwit.ErrFrameInvalid
	case f.Delivered > godwit.SeqMax || f.Read > godwit.SeqMax:
		refusal = godwit.ErrBadCursor
	}
	if refusal != nil {
		s.refuse(session, id, refusal)
		return
	}
	var r *request
	if id != 0 {
		r = &request{session: session, id: id, what: requestSend}
		if !s.deadlines.add(r) {
			s.refuse(session, id, godwit.ErrUnavailable)
			return
		}
	}
	s.marks.add(markKey{user, peer}, f.Delivered, f.Read, r)
}

// peerOf returns what the key of a conversation's row ends with: a copy.
func peerOf(conv []byte) (peer string, refusal *godwit.Error) {
	id, err := godwit.ParseConversationID(string(conv))
	if err != nil {
		return "", godwit.ErrBadConv
	}
	if user, ok := id.Peer(); ok {
		return string(user), nil
	}
	return string(id), nil
}

// add takes one mark; r is nil if nobody waits for it.
func (m *marks) add(key markKey, delivered, read godwit.Seq, r *request) {
	m.mu.Lock()
	g, rests := m.resting[key]
	if !rests {
		key.user = godwit.UserID(strings.Clone(string(key.user)))
		g = &gatheredMarks{key: key}
	}
	g.delivered, g.read = max(g.delivered, delivered), max(g.read, read)
	if r != nil {
		g.waiting = append(g.waiting, r)
	}
	if rests && len(g.waiting) < markWaitersMax {
		m.mu.Unlock()
		return
	}
	c := m.service.newMarkChange(g)
	if !rests && len(m.resting) < marksMax {
		if m.resting == nil {
			m.resting = map[markKey]*gatheredMarks{}
		}
		m.resting[key] = g
		m.slots[m.now] = append(m.slots[m.now], g)
	}
	m.mu.Unlock()
	m.service.changes.start(c)
}

// tick proposes what gathered in the rests that are over, and forgets those in
// which nothing came.
func (m *marks) tick() {
	var due []*markChange
	m.mu.Lock()
	m.now = (m.now + 1) % markRestTicks
	slot := m.slots[m.now]
	m.slots[m.now] = nil
	for _, g := range slot {
		if g.delivered == 0 && g.read == 0 {
			delete(m.resting, g.key)
			continue
		}
		due = append(due, m.service.newMarkChange(g))
		m.slots[m.now] = append(m.slots[m.now], g)
	}
	m.mu.Unlock()
	for _, c := range due {
		m.service.changes.start(c)
	}
}

// newMarkChange takes what gathered.
func (s *Service) newMarkChange(g *gatheredMarks) *markChange {
	c := &markChange{service: s, key: g.key, delivered: g.delivered, read: g.read, waiting: g.waiting}
	c.group = s.cfg.Store.Group(g.key.user.Partition())
	g.delivered, g.read, g.waiting = 0, 0, nil
	return c
}

// markChange is one mark command on its way.
type markChange struct {
	service         *Service
	key             markKey
	delivered, read godwit.Seq
	waiting         []*request

	group   int // where to look next
	channel *conversationRow
	command markCommand // what is known of it
	refusal *godwit.Error
	markSeq godwit.Seq // refusal is nil: where the mark stands already
}

func (c *markChange) place() int { return c.group }

func (c *markChange) finish() {
	if c.refusal != nil {
		c.Fail(c.refusal)
		return
	}
	c.answer(&godwit.ServerFrame{Kind: godwit.KindDone, Done: godwit.Done{Seq: c.markSeq, Dup: true}})
}

func (c *markChange) Fail(err error) {
	s := c.service
	for _, r := range c.waiting {
		if s.deadlines.claim(r) {
			s.refuse(r.session, r.id, publicError(err))
		}
	}
}

func (c *markChange) applied(o *outcome, scratch *flushScratch) {
	if o.refusal != nil {
		c.Fail(o.refusal)
		return
	}
	f := &scratch.frame
	*f = godwit.ServerFrame{Kind: godwit.KindDone, Done: godwit.Done{Seq: o.seq, Dup: o.dup}}
	c.answer(f)
}

func (c *markChange) answer(f *godwit.ServerFrame) {
	s := c.service
	for _, r := range c.waiting {
		if s.deadlines.claim(r) {
			f.ID = r.id
			s.cfg.Edge.Reply(r.session, f)
		}
	}
}
