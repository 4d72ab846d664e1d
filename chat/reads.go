package chat

import (
	"github.com/godwit-im/godwit"
)

// read is one request that looks at the store: ReadIndex first, then a worker
// runs do on a view, so that it sees all that was acknowledged before it.
type read struct {
	request
	do    func(r *read, w *readWorker, v View) answer
	user  godwit.UserID
	group int

	// what is asked for, by kind
	after, to godwit.Seq
	limit     int
	bytesMax  int
	conv      godwit.ConversationID
	page      godwit.Page
	byGroup   bool // the page is in the group's own sequence
	cursor    conversationsCursor
	resume    bool
	epoch     string
	hello     godwit.Hello
	logouts   uint64 // of a call: those heard of before it
}

// answer says what a read left in its worker.
type answer uint8

const (
	answerNone answer = iota
	answerFrame
	answerRefused
	answerConnected
	answerAdmitted
	answerLoggedOut
	answerFetched
	answerPropose
)

// readWorker is one goroutine's scratch. Replies are encoded before the next
// read begins, so they may alias it.
type readWorker struct {
	service *Service

	// The one view a worker has open: two read locks at a time would wait for each
	// other through the appliers. nil: none.
	view   View
	group  int
	failed bool // a view of this read did

	records   []godwit.Record
	entries   []godwit.Entry
	seen      []byte         // of a connect: notes its device
	page      []godwit.Entry // before skips are joined
	items     []conversationItem
	replies   []godwit.ConversationItem
	converter converter
	reader    groupReader
	spans     []span
	at        []int           // of items, those being worked on
	referred  []godwit.Record // of groups' logs
	shown     []godwit.Entry

	frame   godwit.ServerFrame
	refusal *godwit.Error
	welcome godwit.Welcome
	follow  []wanted // channels of a session that begins
	command []byte   // a trim, proposed when the view is closed
	head    godwit.Seq
	digest  uint64 // of the user's conversations at head
}

func (w *readWorker) refuse(e *godwit.Error) answer {
	w.refusal = e
	return answerRefused
}

// open makes the worker's view that of a raft group. Of one that was open before
// only entries stay valid.
func (w *readWorker) open(group int) View {
	if w.view == nil || w.group != group {
		w.shut()
		w.view, w.group = w.service.cfg.Store.View(group), group
	}
	return w.view
}

func (w *readWorker) shut() {
	if w.view == nil {
		return
	}
	if err := w.view.Err(); err != nil {
		w.service.cfg.Logger.Error("read failed", "group", w.group, "error", err)
		w.failed = true
	}
	w.view.Close()
	w.view = nil
}

// startRead accepts a read of the user's group or answers at once that it can't.
func (s *Service) startRead(r *read) { s.startReadAt(r, r.user.Partition()) }

// startReadAt is startRead of the group that owns a partition.
func (s *Service) startReadAt(r *read, p godwit.Partition) {
	if s.reading.Add(1) > int64(s.cfg.ReadQueueMax) {
		s.reading.Add(-1)
		s.fail(&r.request, godwit.ErrUnavailable)
		return
	}
	if !s.deadlines.add(&r.request) {
		s.reading.Add(-1)
		s.fail(&r.request, godwit.ErrUnavailable)
		return
	}
	r.group = s.cfg.Store.Group(p)
	s.cfg.Store.ReadIndex(r.group, func(err error) {
		if err != nil {
			s.reading.Add(-1)
			if s.deadlines.claim(&r.request) {
				s.fail(&r.request, godwit.ErrUnavailable)
			}
			return
		}
		s.reads <- r // has room: reading counts what is in it
	})
}

func (s *Service) readLoop() {
	w := &readWorker{service: s}
	for {
		select {
		case <-s.stop:
			return
		case r := <-s.reads:
			w.serve(r)
			s.reading.Add(-1)
		}
	}
}

// serve runs one read and answers it unless its deadline came first.
func (w *readWorker) serve(r *read) {
	s := w.service
	w.frame = godwit.ServerFrame{ID: r.id}
	s.counters.reads.Add(1)
	w.failed = false
	a := r.do(r, w, w.open(r.group))
	w.shut() // entries stay valid; replies are encoded without the lock
	if w.failed {
		a = w.refuse(godwit.ErrInternal)
	}
	if !s.deadlines.claim(&r.request) {
		return
	}
	switch a {
	case answerFrame:
		s.cfg.Edge.Reply(r.session, &w.frame)
	case answerConnected:
		s.cfg.Edge.Connected(r.session, w.welcome)
		s.channels.opened(r.session, r.user, w.follow)
		s.warm(r.user)
		if w.seen != nil {
			_ = s.cfg.Store.Propose(r.group, w.seen, trimWaiter{}) // else at the next connect
		}
	case answerAdmitted:
		s.cfg.Edge.Connected(r.session, godwit.Welcome{})
	case answerLoggedOut:
		s.cfg.Edge.Close(r.session, godwit.CloseLoggedOut, godwit.ErrLoggedOut.Code)
	case answerFetched:
		s.cfg.Edge.Fetched(r.session, w.entries, w.head, nil)
	case answerRefused:
		s.fail(&r.request, w.refusal)
	case answerPropose:
		if err := s.cfg.Store.Propose(r.group, w.command, trimWaiter{}); err != nil {
			s.cfg.Logger.Debug("trim put off", "error", err)
		}
	case answerNone:
	}
}

// userOfView reads a user's row; a user nobody has named yet has none.
func userOfView(v View, user godwit.UserID) (u userRow, refusal *godwit.Error) {
	if row, ok := v.Get(appendUserKey(nil, user.Partition(), bytesOf(user))); ok && !u.parse(row) {
		return u, godwit.ErrInternal
	}
	return u, nil
}

func (u *userRow) logID(user godwit.UserID) godwit.LogID {
	return godwit.NewLogID(user.Partition(), u.log)
}

// since reads r.limit entries of the user's log after r.after, through r.to if
// that is set.
func (w *readWorker) since(v View, r *read, dst []godwit.Entry) ([]godwit.Entry, godwit.Seq, *godwit.Error) {
	u, refusal := userOfView(v, r.user)
	w.digest = 0
	if refusal != nil || u.log == 0 {
		if refusal == nil && r.after > 0 {
			refusal = godwit.ErrBadCursor
		}
		return nil, 0, refusal
	}
	log := u.logID(r.user)
	head := v.Head(log)
	w.digest = u.publicDigest()
	if r.after > head {
		return nil, head, godwit.ErrBadCursor
	}
	limit := r.limit
	if r.to != 0 {
		limit = int(min(uint64(limit), uint64(r.to-r.after)))
	}
	if limit <= 0 || r.after >= head {
		return dst, head, nil
	}
	w.records = v.Since(log, r.after, limit, r.bytesMax, w.records[:0])
	records, through := w.records, godwit.Seq(0)
	for n := len(records); r.to != 0 && n > 0 && records[n-1].Seq > r.to; n-- {
		records, through = records[:n-1], r.to
	}
	if len(records) == 0 { // what there was is gone
		if through = head; r.to != 0 {
			through = min(r.to, head)
		}
	}
	w.page, refusal = w.convert(v, r.user, log, records, w.page[:0])
	if refusal != nil {
		return nil, head, refusal
	}
	entries, cut := within(r.bytesMax, w.page)
	if cut {
		through = 0
	}
	return withSkips(r.after, through, entries, dst), head, nil
}

// convert appends stored records of a user's log as he sees them, one entry for
// each. The worker's view may be another one after it.
func (w *readWorker) convert(v View, user godwit.UserID, log godwit.LogID, records []godwit.Record, dst []godwit.Entry) ([]godwit.Entry, *godwit.Error) {
	c := &w.converter
	c.ids, c.v, c.user, c.log, c.bad = *w.service.ids.Load(), v, bytesOf(user), log, false
	c.conversations, c.pointers = c.conversations[:0], c.pointers[:0]
	start := len(dst)
	dst, ok := c.page(records, dst)
	if !ok || !c.revise(records, dst[start:]) || c.bad {
		w.damaged(log, records[0].Seq)
		return nil, godwit.ErrInternal
	}
	clear(records) // let go of the log's memory
	c.v = nil
	if len(c.pointers) == 0 {
		return dst, nil
	}
	w.name(v, user, c.pointers)
	return dst, w.resolve(user, dst[start:], c.pointers)
}

// within cuts entries that pass bytesMax, but keeps one: the records of pointers
// are larger than these.
func within(bytesMax int, entries []godwit.Entry) (_ []godwit.Entry, cut bool) {
	for i := range entries {
		if bytesMax -= len(entries[i].Msg.Body); bytesMax < 0 && i > 0 {
			return entries[:i], true
		}
	}
	return entries, false
}
