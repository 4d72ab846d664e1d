package chat

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"io"
	"slices"

	"github.com/godwit-im/godwit"
)

// changeTries bounds how often a command is made anew because what the leader had
// looked up was no longer so.
const changeTries = 5

// change does what was asked, in as many commands as the users need.
func (t *groupTask) change() (reply godwit.GroupReply, refusal *godwit.Error) {
	switch {
	case t.do == doCreate:
		return t.create()
	case t.do == doRemove && t.operator:
		return t.expel()
	}
	return t.changeAll()
}

// changeAll changes it for all users, in their order.
func (t *groupTask) changeAll() (reply godwit.GroupReply, refusal *godwit.Error) {
	total := godwit.GroupReply{Dup: true}
	for part := range slices.Chunk(t.users, changeUsersMax) {
		reply, refusal = t.changePart(part)
		if refusal != nil {
			return reply, refusal
		}
		total.Dup = total.Dup && reply.Dup
	}
	if t.do == doSet {
		return t.changePart(nil)
	}
	reply.Dup = total.Dup
	return reply, nil
}

// changePart runs one command, and runs it again while it comes too late.
func (t *groupTask) changePart(users [][]byte) (reply godwit.GroupReply, refusal *godwit.Error) {
	for try := range changeTries {
		var c *groupChangeCommand
		var done *godwit.GroupReply
		if c, done, refusal = t.command(users, try); refusal != nil {
			return reply, refusal
		}
		if done != nil {
			return *done, nil
		}
		at := t.at()
		var o outcome
		o, refusal = t.propose(at, c.append(nil, homeOf(at, t.service.cfg.Store.Groups())))
		switch {
		case refusal == nil:
			return t.changed(&o), nil
		case o.refusal != godwit.ErrUnavailable:
			return reply, refusal
		}
	}
	return reply, refusal
}

func (t *groupTask) changed(o *outcome) godwit.GroupReply {
	st := o.extra.(*groupState)
	reply := t.reply(&st.row, st.role)
	reply.GSeq, reply.Dup = o.gseq, o.dup
	return reply
}

// command looks up what the command has to name; try counts from 0. done is set if
// there is nothing to do.
func (t *groupTask) command(users [][]byte, try int) (c *groupChangeCommand, done *godwit.GroupReply, refusal *godwit.Error) {
	c = &groupChangeCommand{
		do: t.do, operator: t.operator, group: t.group, by: bytesOf(t.user), has: t.has, name: t.name, flags: t.flags, role: t.role,
	}
	var g groupRow
	asker, exists := roleNone, false
	err := t.view(t.at(), func(v View) {
		if g, exists = groupRowOf(v, t.group); !exists {
			return
		}
		m, _ := memberOf(v, t.group, c.by)
		asker = m.current()
		t.look(v, &g, c, users, 2<<(2*try))
		g.name = bytes.Clone(g.name)
	})
	switch {
	case err != nil:
		return nil, nil, err
	case !exists, asker == roleNone && !t.operator && (t.do != doJoin || g.flags&groupOpen == 0):
		return nil, nil, godwit.ErrNotMember
	}
	if t.do != doAdd && t.do != doJoin {
		return c, nil, nil
	}
	fresh, refusal := t.welcome(c.users.each, g.isChannel())
	if refusal != nil {
		return nil, nil, refusal
	}
	if len(fresh) == 0 {
		reply := t.reply(&g, asker)
		reply.Dup = true
		return nil, &reply, nil
	}
	c.users = userList{}
	for _, user := range fresh {
		c.users.add(user)
	}
	return c, nil, nil
}

// look reads where members are listed, or where there is room for new ones and, as
// others may come first, some more: spare buckets.
func (t *groupTask) look(v View, g *groupRow, c *groupChangeCommand, users [][]byte, spare uint64) {
	if c.do == doRole && c.role == roleOwner {
		m, _ := memberOf(v, t.group, g.owner)
		c.owner, c.ownerBucket = bytes.Clone(g.owner), m.bucket
	}
	fresh := 0
	for _, user := range users {
		m, _ := memberOf(v, t.group, user)
		switch {
		case c.withBuckets():
			c.users.addMember(user, m.bucket)
		case !m.isMember():
			fresh++
			c.users.add(user)
		}
	}
	if c.withBuckets() {
		return
	}
	c.places = g.places()
	enough := uint64(bucketsNamedMax)
	for n, free := g.room, 0; c.buckets.count < enough; n++ {
		count := 0
		eachOfBucket(v, t.group, n, func(bucketEntry) bool { count++; return true })
		if count >= bucketMembers {
			continue
		}
		c.buckets.add(n)
		if free += bucketMembers - count; free >= fresh && enough == bucketsNamedMax {
			enough = min(c.buckets.count+spare, bucketsNamedMax)
		}
	}
}

// welcome leaves out whoever blocks the asker: nobody is told. It refuses users who
// are in as many groups as there may be.
func (t *groupTask) welcome(users func(func([]byte, uint32) bool), channel bool) (fresh [][]byte, refusal *godwit.Error) {
	if t.operator {
		for user := range users {
			fresh = append(fresh, user)
		}
		return fresh, nil
	}
	s := t.service
	byGroup := make(map[int][][]byte)
	for user := range users {
		at := s.cfg.Store.Group(userOf(user).Partition())
		byGroup[at] = append(byGroup[at], user)
	}
	for at, part := range byGroup {
		err := t.view(at, func(v View) {
			for _, user := range part {
				u, broken := userOfView(v, userOf(user))
				switch {
				case broken != nil:
					refusal = broken
				case isBlockedBy(v, user, bytesOf(t.user)):
				case u.groups >= uint64(s.cfg.Policy.GroupsMax), channel && u.channels >= uint64(s.cfg.Policy.ChannelsMax):
					refusal = godwit.ErrGroups
				default:
					fresh = append(fresh, user)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(fresh, bytes.Compare)
	return fresh, refusal
}

// create makes a group of the first users and adds the others.
func (t *groupTask) create() (reply godwit.GroupReply, refusal *godwit.Error) {
	if len(t.users)+1 > t.service.cfg.Policy.MembersMax {
		return reply, godwit.ErrMembers
	}
	if _, refusal = t.welcome(func(yield func([]byte, uint32) bool) { yield(bytesOf(t.user), 0) }, false); refusal != nil {
		return reply, refusal
	}
	t.users, refusal = t.welcome(func(yield func([]byte, uint32) bool) {
		for _, user := range t.users {
			if !yield(user, 0) {
				return
			}
		}
	}, false)
	if refusal != nil {
		return reply, refusal
	}
	first := t.users[:min(len(t.users), changeUsersMax)]
	for range changeTries {
		var o outcome
		if o, refusal = t.createOne(first); refusal == godwit.ErrConflict && len(t.cid) == 0 {
			continue // a random id that exists
		}
		if refusal != nil {
			return reply, refusal
		}
		reply = t.changed(&o)
		break
	}
	if refusal != nil {
		return reply, refusal
	}
	t.do = doAdd
	for part := range slices.Chunk(t.users[len(first):], changeUsersMax) {
		added, refusal := t.changePart(part)
		if refusal != nil {
			return reply, refusal
		}
		reply.Count, reply.Channel = added.Count, added.Channel
	}
	return reply, nil
}

func (t *groupTask) createOne(users [][]byte) (outcome, *godwit.Error) {
	id, err := t.service.newGroupID(t.user, t.cid)
	if err != nil {
		t.service.cfg.Logger.Error("random group id", "error", err)
		return outcome{}, godwit.ErrInternal
	}
	t.group = id
	c := groupCreateCommand{by: bytesOf(t.user), group: id, name: t.name, flags: t.flags}
	for _, user := range users {
		c.users.add(user)
	}
	at := t.at()
	return t.propose(at, c.append(nil, homeOf(at, t.service.cfg.Store.Groups())))
}

// newGroupID makes the id of a new group: the same for every attempt of a client
// that named its request, but nothing that others could guess.
func (s *Service) newGroupID(creator godwit.UserID, cid []byte) ([]byte, error) {
	var sum [sha256.Size]byte
	if len(cid) == 0 {
		if _, err := io.ReadFull(s.cfg.Random, sum[:8]); err != nil {
			return nil, err
		}
	} else {
		key := []byte("godwit group ids")
		s.ids.Load().block.Encrypt(key, key)
		h := hmac.New(sha256.New, key)
		_, _ = h.Write(append(append([]byte(creator), 0), cid...)) // no user has a 0 in its id
		h.Sum(sum[:0])
	}
	return append([]byte{'g'}, groupIDs.EncodeToString(sum[:8])[:10]...), nil
}

var groupIDs = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
