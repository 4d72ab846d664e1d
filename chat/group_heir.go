package chat

import (
	"bytes"
	"slices"

	"github.com/godwit-im/godwit"
)

// expel removes members for the operator, whom no role stops: an owner who has to go
// leaves the group to an heir first. Whoever became the owner meanwhile is removed
// without, so it is looked at again behind; the last one takes the group with him.
func (t *groupTask) expel() (reply godwit.GroupReply, refusal *godwit.Error) {
	if refusal = t.inherit(t.users); refusal != nil {
		return reply, refusal
	}
	if reply, refusal = t.changeAll(); refusal != nil || reply.Count == 0 {
		return reply, refusal
	}
	return reply, t.inherit(nil)
}

// inherit gives the group to an heir if it has no owner, or if he is one of those who
// go, who are sorted.
func (t *groupTask) inherit(going [][]byte) *godwit.Error {
	goes := func(user []byte) bool {
		_, found := slices.BinarySearchFunc(going, user, bytes.Compare)
		return found
	}
	at := t.at()
	for range changeTries {
		if refusal := t.current(at); refusal != nil {
			return refusal
		}
		var command []byte
		refusal := t.view(at, func(v View) {
			g, exists := groupRowOf(v, t.group)
			if !exists || len(g.owner) > 0 && !goes(g.owner) {
				return
			}
			if heir := heirOf(v, &g, t.group, goes); heir != nil {
				c := groupChangeCommand{do: doRole, operator: true, group: t.group, by: bytesOf(t.user), role: roleOwner}
				t.look(v, &g, &c, [][]byte{heir}, 0)
				command = c.append(nil, homeOf(at, t.service.cfg.Store.Groups()))
			}
		})
		if refusal != nil || command == nil {
			return refusal
		}
		// Refused by apply: it has another owner by now, or the heir is gone.
		if o, refusal := t.propose(at, command); refusal == nil || o.refusal == nil {
			return refusal
		}
	}
	return godwit.ErrUnavailable
}

// heirOf finds who gets a group whose owner goes: an admin, or else any member who
// stays; nil if there is none. It reads all buckets of a group without another admin.
func heirOf(v View, g *groupRow, group []byte, goes func(user []byte) bool) (heir []byte) {
	for n := range g.buckets {
		more := eachOfBucket(v, group, n, func(e bucketEntry) bool {
			switch {
			case e.left != 0 || e.role == roleOwner || goes(e.user):
			case e.role == roleAdmin:
				heir = bytes.Clone(e.user)
				return false
			case heir == nil:
				heir = bytes.Clone(e.user)
			}
			return true
		})
		if !more {
			break
		}
	}
	return heir
}
