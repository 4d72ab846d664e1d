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
	cursor    conversationsCursor
	resume    bool
	epoch     string
	hello     godwit.Hello
}

// answer says what a read left in its worker.
type answer uint8

const (
	answerNone answer = iota
	answerFrame
	answerRefused
	answerConnected
	answerFetched
	answerPropose
)

// readWorker is one goroutine's scratch. Replies are encoded before the next
// read begins, so they may alias it.
type readWorker struct {
	service *Service
	records []godwit.Record
	entries []godwit.Entry
	items   []conversationItem
	replies []godwit.ConversationItem

	frame   godwit.ServerFrame
	refusal *godwit.Error
	welcome godwit.Welcome
	command []byte // a trim, proposed when the view is closed
	head    godwit.Seq
}

func (w *readWorker) refuse(e *godwit.Error) answer {
	w.refusal = e
	return answerRefused
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
	v := s.cfg.Store.View(r.group)
	a := r.do(r, w, v)
	if err := v.Err(); err != nil {
		s.cfg.Logger.Error("read failed", "group", r.group, "error", err)
		a = w.refuse(godwit.ErrInternal)
	}
	v.Close() // entries stay valid; replies are encoded without the lock
	if !s.deadlines.claim(&r.request) {
		return
	}
	switch a {
	case answerFrame:
		s.cfg.Edge.Reply(r.session, &w.frame)
	case answerConnected:
		s.cfg.Edge.Connected(r.session, w.welcome)
		s.warm(r.user)
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
	if refusal != nil || u.log == 0 {
		if refusal == nil && r.after > 0 {
			refusal = godwit.ErrBadCursor
		}
		return nil, 0, refusal
	}
	log := u.logID(r.user)
	head := v.Head(log)
	if r.after > head {
		return nil, head, godwit.ErrBadCursor
	}
	limit := r.limit
	if r.to != 0 {
		limit = int(min(uint64(limit), uint64(r.to-r.after)))
	}
	if limit > 0 && r.after < head {
		w.records = v.Since(log, r.after, limit, r.bytesMax, w.records[:0])
		dst, refusal = w.convert(log, w.records, dst)
	}
	return dst, head, refusal
}

// convert appends stored records as clients see them.
func (w *readWorker) convert(log godwit.LogID, records []godwit.Record, dst []godwit.Entry) ([]godwit.Entry, *godwit.Error) {
	ids := w.service.ids.Load()
	for i := range records {
		dst = append(dst, godwit.Entry{})
		if !ids.entry(&dst[len(dst)-1], log, &records[i]) {
			w.service.cfg.Logger.Error("stored record does not parse", "log", uint64(log), "seq", records[i].Seq)
			return nil, godwit.ErrInternal
		}
	}
	clear(records) // let go of the log's memory
	return dst, nil
}
