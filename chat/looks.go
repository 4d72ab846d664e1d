package chat

import "github.com/godwit-im/godwit"

// looks serve what is soft: presence, typing and marks in small groups. They look up rights in views of
// many raft groups, one after another, and have workers and a queue of their own,
// so that they never stand in the way of messages. They take no ReadIndex: what
// the asker was told is done has been applied here.

// look is one request under way; it owns what it refers to.
type look struct {
	session godwit.SessionID
	id      uint64
	user    godwit.UserID
	kind    godwit.FrameKind

	// presence
	order   uint64
	targets []godwit.UserID // to get, then to watch
	get     int             // so many of them to get
	watch   bool
	device  string

	// typing and marks
	conv godwit.ConversationID
	stop bool

	membersMax uint32 // marks: of the group
}

const (
	lookWorkers = 2
	// looksMax bounds looks that wait. Above it presence is refused as unavailable
	// and notices of typing are dropped.
	looksMax = 1024
	// receiptLooksMax: with so many looks waiting marks of members are told to nobody,
	// so that a busy group leaves room for what users ask for.
	receiptLooksMax = looksMax / 2
	// looksPerS bounds the users a second of whom one user asks for presence or
	// begins to watch them, over all sessions; two seconds' worth may come at once.
	looksPerS = 2000
)

func (s *Service) startLook(l *look) bool {
	select {
	case s.looks <- l:
		return true
	default:
		return false
	}
}

func (s *Service) lookLoop() {
	for {
		select {
		case <-s.stop:
			s.refuseLooks()
			return
		case l := <-s.looks:
			switch l.kind {
			case godwit.KindTyping:
				s.tellTyping(l)
			case godwit.KindMark:
				s.tellReceipt(l)
			default:
				s.lookAt(l)
			}
		}
	}
}

// refuseLooks answers what nobody looks at any more.
func (s *Service) refuseLooks() {
	for {
		select {
		case l := <-s.looks:
			if l.id != 0 || l.kind == godwit.KindPresence {
				s.refuse(l.session, l.id, godwit.ErrUnavailable)
			}
		default:
			return
		}
	}
}

// failed reports a view that could not read all it was asked.
func (s *Service) failed(v View, group int) bool {
	err := v.Err()
	if err != nil {
		s.cfg.Logger.Error("read failed", "group", group, "error", err)
	}
	return err != nil
}
