package chat

import (
	"fmt"
	"slices"

	"github.com/godwit-im/godwit"
)

// wholeModel is the messenger as its users understand it, without logs, lanes or
// fan-outs: what each of them must have in each conversation, in which order, with
// which unread counts. It is naive on purpose.
type wholeModel struct {
	users  []godwit.UserID
	convs  []map[string]*modelConv // by user, by conversation
	blocks map[[2]int]bool         // [0] blocks [1]
	sent   []*modelMessage
	groups []*modelGroup
}

type modelMessage struct {
	from, to int // to is a user, or with group not nil nobody
	group    *modelGroup
	cid      string
	mid      godwit.MessageID
	modelBody
	// atPeer is what the other has of a 1:1 message: changes by somebody he blocks
	// do not reach him.
	atPeer modelBody
	// editFor are the members of the group when it was last edited: who had left sees
	// what was written first.
	editFor []bool
}

// bodyFor is the message as a user sees it.
func (msg *modelMessage) bodyFor(user int) modelBody {
	body := msg.modelBody
	switch {
	case msg.group == nil && user != msg.from:
		return msg.atPeer
	case msg.editFor != nil && !msg.editFor[user]:
		body.text = "text " + msg.cid[1:]
	}
	return body
}

type modelBody struct {
	text     string
	recalled bool
}

type modelGroup struct {
	id      string
	owner   int
	members []bool
}

// modelConv is what one user has of one conversation.
type modelConv struct {
	messages []*modelMessage // in order, his own too
	read     int             // messages through which it is read
	gone     int             // messages that he deleted for himself
}

func newWholeModel(users ...godwit.UserID) *wholeModel {
	m := &wholeModel{users: users, blocks: map[[2]int]bool{}}
	for range users {
		m.convs = append(m.convs, map[string]*modelConv{})
	}
	return m
}

func (m *wholeModel) conv(user int, id string) *modelConv {
	c := m.convs[user][id]
	if c == nil {
		c = &modelConv{}
		m.convs[user][id] = c
	}
	return c
}

func (m *wholeModel) direct(peer int) string { return "u:" + string(m.users[peer]) }

// deliver puts a message where it belongs.
func (m *wholeModel) deliver(msg *modelMessage) {
	m.sent = append(m.sent, msg)
	msg.atPeer = msg.modelBody
	if msg.group != nil {
		for user, member := range msg.group.members {
			if member {
				c := m.conv(user, "g:"+msg.group.id)
				c.messages = append(c.messages, msg)
			}
		}
		return
	}
	c := m.conv(msg.from, m.direct(msg.to))
	c.messages = append(c.messages, msg)
	if msg.to != msg.from && !m.blocks[[2]int{msg.to, msg.from}] {
		c := m.conv(msg.to, m.direct(msg.from))
		c.messages = append(c.messages, msg)
	}
}

func (m *wholeModel) unread(user int, c *modelConv) (n int) {
	for i, msg := range c.messages {
		if i >= c.read && msg.from != user {
			n++
		}
	}
	return n
}

// line is a message as the checks compare it.
func line2(from, text string, recalled bool) string {
	if recalled {
		return from + " took it back"
	}
	return from + ": " + text
}

// wholeRun is the real thing beside the model.
type wholeRun struct {
	*served
	model  *wholeModel
	broken string // the first violation
}

func (r *wholeRun) fail(format string, args ...any) {
	if r.broken == "" {
		r.broken = fmt.Sprintf(format, args...)
	}
}

// request asks and lets time pass until there is an answer: marks wait for theirs.
func (r *wholeRun) request(user int, f *godwit.ClientFrame) godwit.ServerFrame {
	f.ID = uint64(len(r.edge.replies) + 1)
	r.service.Request(1, r.model.users[user], f)
	r.settle()
	for n := 0; len(r.edge.replies[f.ID]) == 0 && n < 60; n++ {
		r.tick(1)
	}
	r.tick(1)
	answers := r.edge.replies[f.ID]
	if len(answers) != 1 {
		r.fail("%d answers to a frame of kind %d", len(answers), f.Kind)
		return godwit.ServerFrame{Kind: godwit.KindError}
	}
	return answers[0]
}

// wholeOp is one step; its numbers are taken modulo what there is.
type wholeOp struct{ kind, a, b, n int }

const wholeKinds = 16

func (r *wholeRun) do(op wholeOp, number int) {
	m := r.model
	a, b := op.a%len(m.users), op.b%len(m.users)
	switch op.kind % wholeKinds {
	case 0, 1, 2:
		r.send(&modelMessage{from: a, to: b, cid: fmt.Sprint("c", number), modelBody: modelBody{text: fmt.Sprint("text ", number)}})
	case 3, 4, 5:
		if g := r.group(op.n); g != nil {
			r.send(&modelMessage{from: a, group: g, cid: fmt.Sprint("c", number), modelBody: modelBody{text: fmt.Sprint("text ", number)}})
		}
	case 6:
		r.retry(op.n)
	case 7:
		r.createGroup(a, op.n)
	case 8:
		if g := r.group(op.n); g != nil {
			r.change(g, a, b, op.b%2 == 0)
		}
	case 9, 10:
		r.mark(a, op.n)
	case 11:
		r.revise(a, op.n, number, false)
	case 12:
		r.revise(a, op.n, number, true)
	case 13:
		r.block(a, b, op.n%2 == 0)
	case 14:
		r.forget(a, op.n)
	case 15:
		r.restart()
	}
}

func (r *wholeRun) group(n int) *modelGroup {
	if len(r.model.groups) == 0 {
		return nil
	}
	return r.model.groups[n%len(r.model.groups)]
}

func (r *wholeRun) frame(msg *modelMessage, text string) *godwit.ClientFrame {
	if msg.group != nil {
		f := sendFrame("", msg.cid, text)
		f.Send.To, f.Send.Group = nil, []byte(msg.group.id)
		return f
	}
	return sendFrame(string(r.model.users[msg.to]), msg.cid, text)
}

func (r *wholeRun) send(msg *modelMessage) {
	reply := r.request(msg.from, r.frame(msg, msg.text))
	if msg.group != nil && !msg.group.members[msg.from] {
		if reply.Error.Code != godwit.ErrNotMember.Code {
			r.fail("%s wrote to a group of others: %+v", r.model.users[msg.from], reply)
		}
		return
	}
	if reply.Kind != godwit.KindSend || reply.Send.Dup {
		r.fail("send %+v: %+v", msg, reply)
		return
	}
	msg.mid = reply.Send.MID
	r.model.deliver(msg)
}

func (r *wholeRun) retry(n int) {
	if len(r.model.sent) == 0 {
		return
	}
	msg := r.model.sent[n%len(r.model.sent)]
	if msg.group != nil && !msg.group.members[msg.from] {
		return // the text was edited, or he is no member: not a plain repetition
	}
	original := "text " + msg.cid[1:]
	if reply := r.request(msg.from, r.frame(msg, original)); reply.Kind != godwit.KindSend || !reply.Send.Dup || reply.Send.MID != msg.mid {
		r.fail("retry of %+v: %+v", msg, reply)
	}
}

func (r *wholeRun) createGroup(owner, n int) {
	if len(r.model.groups) >= 3 {
		return
	}
	g := &modelGroup{owner: owner, members: make([]bool, len(r.model.users))}
	f := &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(godwit.GroupCreate), Name: []byte("g"), HasName: true}}
	for user := range r.model.users {
		switch {
		case user == owner:
			g.members[user] = true
		case n>>user&1 == 1:
			g.members[user] = !r.model.blocks[[2]int{user, owner}]
			f.Group.Users = append(f.Group.Users, []byte(r.model.users[user]))
		}
	}
	reply := r.request(owner, f)
	if reply.Kind != godwit.KindGroup {
		r.fail("create a group: %+v", reply)
		return
	}
	g.id = string(reply.Group.Group)
	r.model.groups = append(r.model.groups, g)
	for user, member := range g.members {
		if member {
			r.model.conv(user, "g:"+g.id)
		}
	}
}

// change has the owner add or remove somebody, or a member leave.
func (r *wholeRun) change(g *modelGroup, by, whom int, leave bool) {
	do, f := godwit.GroupAdd, &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Group: []byte(g.id)}}
	switch {
	case leave && by != g.owner:
		do, whom = godwit.GroupLeave, by
	case g.members[whom]:
		do, by = godwit.GroupRemove, g.owner
	default:
		by = g.owner
	}
	if whom == g.owner {
		return
	}
	f.Group.Do = []byte(do)
	if do != godwit.GroupLeave {
		f.Group.Users = [][]byte{[]byte(r.model.users[whom])}
	}
	reply := r.request(by, f)
	switch {
	case do == godwit.GroupLeave && !g.members[by]:
		if reply.Error.Code != godwit.ErrNotMember.Code {
			r.fail("leaving what he is not in: %+v", reply)
		}
		return
	case reply.Kind != godwit.KindGroup && reply.Kind != godwit.KindDone:
		r.fail("%s: %+v", do, reply)
		return
	}
	g.members[whom] = do == godwit.GroupAdd && !r.model.blocks[[2]int{whom, g.owner}]
	if g.members[whom] {
		r.model.conv(whom, "g:"+g.id)
	}
}

// places are the messages of a conversation in the user's log, recalled ones too.
func (r *wholeRun) places(user int) map[string][]godwit.Entry {
	found := map[string][]godwit.Entry{}
	for since := godwit.Seq(0); ; {
		reply := r.request(user, &godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: since}})
		if reply.Kind != godwit.KindSync {
			r.fail("sync: %+v", reply)
			return found
		}
		for _, e := range reply.Sync.Entries {
			if e.Seq != since+1 {
				r.fail("%s: %d follows %d", r.model.users[user], e.Seq, since)
				return found
			}
			since = max(e.Seq, e.SkipTo)
			if !e.IsSkip() && e.Kind == godwit.EntryMessage {
				found[string(e.Msg.Conv)] = append(found[string(e.Msg.Conv)], e)
			}
		}
		if since >= reply.Sync.Head || len(reply.Sync.Entries) == 0 {
			if since < reply.Sync.Head {
				r.fail("%s: nothing after %d, the head is %d", r.model.users[user], since, reply.Sync.Head)
			}
			return found
		}
	}
}

// pick returns one of the user's conversations that has something in it.
func (r *wholeRun) pick(user, n int) (id string, c *modelConv) {
	var ids []string
	for id, c := range r.model.convs[user] {
		if len(c.messages) > c.gone {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "", nil
	}
	slices.Sort(ids)
	id = ids[n%len(ids)]
	return id, r.model.convs[user][id]
}

func (r *wholeRun) mark(user, n int) {
	id, c := r.pick(user, n)
	if c == nil {
		return
	}
	entries := r.places(user)[id]
	if len(entries) != len(c.messages)-c.gone {
		r.fail("%s has %d messages of %s, want %d", r.model.users[user], len(entries), id, len(c.messages)-c.gone)
		return
	}
	at := n % len(entries)
	reply := r.request(user, &godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{Conv: []byte(id), Read: entries[at].Seq}})
	if reply.Kind != godwit.KindDone {
		r.fail("mark %s of %s: %+v", id, r.model.users[user], reply)
	}
	c.read = max(c.read, c.gone+at+1)
}

func (r *wholeRun) revise(user, n, number int, recall bool) {
	if len(r.model.sent) == 0 {
		return
	}
	msg := r.model.sent[n%len(r.model.sent)]
	f := &godwit.ClientFrame{Kind: godwit.KindEdit, Edit: godwit.Edit{
		MID: []byte(msg.mid.String()), Text: fmt.Appendf(nil, "edited %d", number), HasText: true,
	}}
	if recall {
		f = &godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: []byte(msg.mid.String())}}
	}
	reply := r.request(user, f)
	may := msg.from == user && (msg.group == nil || msg.group.members[user])
	if recall && msg.group != nil && msg.group.owner == user {
		may = true
	}
	if msg.group == nil { // what he deleted for himself is no longer his to change
		c := r.model.conv(msg.from, r.model.direct(msg.to))
		may = may && slices.Index(c.messages, msg) >= c.gone
	}
	switch {
	case !may && reply.Kind != godwit.KindError:
		r.fail("%s changed a message of %s: %+v", r.model.users[user], r.model.users[msg.from], reply)
	case may && !recall && msg.recalled:
		// what was taken back stays so, whatever the answer
	case may && reply.Kind != godwit.KindDone:
		r.fail("change of %+v: %+v", msg, reply.Error)
	case may && recall:
		msg.recalled = true
	case may:
		msg.text = string(f.Edit.Text)
		if msg.group != nil {
			msg.editFor = slices.Clone(msg.group.members)
		}
	}
	if may && msg.group == nil && !r.model.blocks[[2]int{msg.to, msg.from}] {
		msg.atPeer = msg.modelBody
	}
}

func (r *wholeRun) block(a, b int, on bool) {
	if a == b {
		return
	}
	f := &godwit.ClientFrame{Kind: godwit.KindBlock}
	if on {
		f.Block.Add = [][]byte{[]byte(r.model.users[b])}
	} else {
		f.Block.Remove = [][]byte{[]byte(r.model.users[b])}
	}
	if reply := r.request(a, f); reply.Kind != godwit.KindBlock {
		r.fail("block: %+v", reply)
	}
	r.model.blocks[[2]int{a, b}] = on
}

// forget deletes the oldest part of a conversation for its reader.
func (r *wholeRun) forget(user, n int) {
	id, c := r.pick(user, n)
	if c == nil {
		return
	}
	entries := r.places(user)[id]
	if len(entries) == 0 {
		return
	}
	at := n % len(entries)
	reply := r.request(user, &godwit.ClientFrame{Kind: godwit.KindConversation, Conversation: godwit.ConversationChange{
		Conv: []byte(id), Delete: entries[at].Seq,
	}})
	if reply.Kind != godwit.KindDone {
		r.fail("delete in %s: %+v", id, reply)
	}
	c.gone += at + 1
	c.read = max(c.read, c.gone)
}
