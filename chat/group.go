package chat

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/godwit-im/godwit"
)

// groupTask is one request about groups. It runs on a goroutine of its own: it may
// have to look at several raft groups, one View at a time, and to propose several
// commands one after the other.
type groupTask struct {
	request
	service  *Service
	operator bool
	user     godwit.UserID

	// of the frame, copied
	do      changeDo // 0: it reads
	group   []byte
	cid     []byte
	name    []byte
	has     uint8
	flags   uint8 // groupOpen, groupHistoryAll
	role    role
	users   [][]byte // ascending, each once
	gseq    godwit.Seq
	next    []byte
	limit   int
	reading func(*groupTask) (godwit.GroupReply, *godwit.Error)
}

// group serves one request about groups. The answer comes by Edge.Reply, once.
func (s *Service) group(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Group) {
	t := &groupTask{
		request: request{session: session, id: id, what: requestSend, gone: make(chan struct{})},
		service: s, operator: isOperator(session), user: godwit.UserID(bytes.Clone(bytesOf(user))),
	}
	if refusal := t.take(f); refusal != nil {
		s.refuse(session, id, refusal)
		return
	}
	if t.reading != nil {
		t.what = requestRead
	}
	if !s.deadlines.add(&t.request) {
		s.refuse(session, id, godwit.ErrUnavailable)
		return
	}
	if !s.tasks.start(t.run) && s.deadlines.claim(&t.request) {
		s.refuse(session, id, godwit.ErrUnavailable)
	}
}

// take checks a frame and copies what it says.
func (t *groupTask) take(f *godwit.Group) *godwit.Error {
	switch string(f.Do) {
	case godwit.GroupCreate:
		t.do = doCreate
	case godwit.GroupSet:
		t.do = doSet
	case godwit.GroupAdd:
		t.do = doAdd
	case godwit.GroupRemove:
		t.do = doRemove
	case godwit.GroupLeave:
		t.do = doLeave
	case godwit.GroupJoin:
		t.do = doJoin
	case godwit.GroupRole:
		t.do = doRole
	case godwit.GroupInfo:
		t.reading = (*groupTask).info
	case godwit.GroupMembers:
		t.reading = (*groupTask).members
	case godwit.GroupList:
		t.reading = (*groupTask).list
	case godwit.GroupReceipts:
		t.reading = (*groupTask).receipts
	default:
		return godwit.ErrFrameInvalid
	}
	if refusal := t.takeSettings(f); refusal != nil {
		return refusal
	}
	group := bytes.TrimPrefix(f.Group, groupPrefix)
	if t.do != doCreate && string(f.Do) != godwit.GroupList && !godwit.ValidID(group) {
		return godwit.ErrBadConv
	}
	t.group, t.gseq, t.next, t.limit = bytes.Clone(group), f.GSeq, bytes.Clone(f.Next), int(min(f.Limit, 1<<20))
	return t.takeUsers(f)
}

// takeSettings takes the name, who may join, what they see, and the role.
func (t *groupTask) takeSettings(f *godwit.Group) *godwit.Error {
	if len(f.Name) > godwit.GroupNameBytesMax || !utf8.Valid(f.Name) || f.GSeq > godwit.SeqMax {
		return godwit.ErrFrameInvalid
	}
	if f.HasName || len(f.Name) > 0 {
		t.name, t.has = bytes.Clone(f.Name), t.has|hasName
	}
	switch string(f.Join) {
	case "":
	case godwit.JoinOpen:
		t.flags, t.has = t.flags|groupOpen, t.has|hasJoin
	case godwit.JoinInvite:
		t.has |= hasJoin
	default:
		return godwit.ErrFrameInvalid
	}
	switch string(f.History) {
	case "":
	case godwit.HistoryAll:
		t.flags, t.has = t.flags|groupHistoryAll, t.has|hasHistory
	case godwit.HistoryJoined:
		t.has |= hasHistory
	default:
		return godwit.ErrFrameInvalid
	}
	switch string(f.Role) {
	case godwit.RoleMember:
		t.role = roleMember
	case godwit.RoleAdmin:
		t.role = roleAdmin
	case godwit.RoleOwner:
		t.role = roleOwner
	}
	switch {
	case t.do == doSet && t.has == 0, t.do == doRole && t.role == roleNone:
		return godwit.ErrFrameInvalid
	case t.do == doCreate && len(f.CID) > 0 && !godwit.ValidID(f.CID):
		return godwit.ErrBadCID
	}
	t.cid = bytes.Clone(f.CID)
	return nil
}

// takeUsers takes the users the request is about, in the order commands want.
func (t *groupTask) takeUsers(f *godwit.Group) *godwit.Error {
	switch t.do {
	case doJoin, doLeave:
		t.users = [][]byte{bytesOf(t.user)}
		return nil
	case doCreate, doAdd, doRemove, doRole:
	default:
		return nil
	}
	size := 0
	for _, user := range f.Users {
		if !godwit.ValidID(user) {
			return godwit.ErrBadUser
		}
		size += len(user)
	}
	all := make([]byte, 0, size)
	for _, user := range f.Users {
		all = append(all, user...)
		t.users = append(t.users, all[len(all)-len(user):len(all):len(all)])
	}
	slices.SortFunc(t.users, bytes.Compare)
	t.users = slices.CompactFunc(t.users, bytes.Equal)
	if t.do == doCreate {
		t.users = slices.DeleteFunc(t.users, func(user []byte) bool { return string(user) == string(t.user) })
		return nil
	}
	if len(t.users) == 0 || t.do == doRole && t.role == roleOwner && len(t.users) > 1 {
		return godwit.ErrFrameInvalid
	}
	return nil
}

// run does what was asked and answers unless the deadline has.
func (t *groupTask) run() {
	s := t.service
	var reply godwit.GroupReply
	var refusal *godwit.Error
	if t.reading != nil {
		s.counters.reads.Add(1)
		reply, refusal = t.reading(t)
	} else {
		reply, refusal = t.change()
	}
	if !s.deadlines.claim(&t.request) {
		return
	}
	if refusal != nil {
		s.refuse(t.session, t.id, refusal)
		return
	}
	s.cfg.Edge.Reply(t.session, &godwit.ServerFrame{ID: t.id, Kind: godwit.KindGroup, Group: reply})
}

// at is the raft group that has the rows and the log of the task's group.
func (t *groupTask) at() int { return t.service.cfg.Store.Group(groupOfID(t.group).Partition()) }

// current waits until all that was acknowledged is visible in a raft group.
func (t *groupTask) current(group int) *godwit.Error {
	done := make(chan error, 1)
	t.service.cfg.Store.ReadIndex(group, func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return godwit.ErrUnavailable
		}
		return nil
	case <-t.gone:
	case <-t.service.stop:
	}
	return godwit.ErrUnavailable
}

// view runs f on a View of a raft group. f opens no other: two goroutines that
// each held one and waited for the other's would wait for ever.
func (t *groupTask) view(group int, f func(v View)) *godwit.Error {
	v := t.service.cfg.Store.View(group)
	defer v.Close()
	f(v)
	if err := v.Err(); err != nil {
		t.service.cfg.Logger.Error("read failed", "group", group, "error", err)
		return godwit.ErrInternal
	}
	return nil
}

// groupWaiter gets the answer to one command.
type groupWaiter chan groupAnswer

type groupAnswer struct {
	outcome outcome
	err     error
}

func (w groupWaiter) Fail(err error)                      { w <- groupAnswer{err: err} }
func (w groupWaiter) applied(o *outcome, _ *flushScratch) { w <- groupAnswer{outcome: *o} }

// propose runs one command and waits for its outcome.
func (t *groupTask) propose(group int, command []byte) (outcome, *godwit.Error) {
	w := make(groupWaiter, 1)
	if err := t.service.cfg.Store.Propose(group, command, w); err != nil {
		return outcome{}, publicError(err)
	}
	select {
	case a := <-w:
		if a.err != nil {
			return outcome{}, publicError(a.err)
		}
		return a.outcome, a.outcome.refusal
	case <-t.gone:
	case <-t.service.stop:
	}
	return outcome{}, godwit.ErrUnknown
}

// reply fills what every answer about one group has.
func (t *groupTask) reply(g *groupRow, r role) godwit.GroupReply {
	out := godwit.GroupReply{
		Group: godwit.GroupID(t.group), Conv: godwit.ConversationID("g:" + string(t.group)), Name: string(g.name),
		Role: r.String(), Count: uint32(g.members), Channel: g.isChannel(), GSeq: g.head,
		Join: godwit.JoinInvite, History: godwit.HistoryJoined,
	}
	if g.flags&groupOpen != 0 {
		out.Join = godwit.JoinOpen
	}
	if g.flags&groupHistoryAll != 0 {
		out.History = godwit.HistoryAll
	}
	return out
}
