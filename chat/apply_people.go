//tidy:apply

package chat

import (
	"encoding/binary"

	"github.com/godwit-im/godwit"
)

// apply changes the list whole or, when it would become too long, not at all.
func (c *peopleCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	p := userOf(c.user).Partition()
	if st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	u := a.user(tx, p, c.user)
	count := &u.blocked
	if c.list == listContacts {
		count = &u.contacts
	}
	added, deletes := uint64(0), uint64(0)
	for ids := c.remove; !ids.done(); {
		if _, ok := tx.Get(a.keyOf(appendPeerKey(a.key[:0], p, c.list.row(), c.user, ids.short()))); ok {
			deletes++
		}
	}
	for ids := c.add; !ids.done(); {
		if _, ok := tx.Get(a.keyOf(appendPeerKey(a.key[:0], p, c.list.row(), c.user, ids.short()))); !ok {
			added++
		}
	}
	switch {
	case added > 0 && *count+added > uint64(st.policy.peopleMax)+deletes:
		return outcome{refusal: godwit.ErrListFull}
	case added == 0 && deletes == 0:
		return outcome{}
	}
	a.allot(tx, p, &u)
	now := max(u.time, tx.Stamp())
	for ids := c.remove; !ids.done(); {
		if _, ok := tx.Get(a.keyOf(appendPeerKey(a.key[:0], p, c.list.row(), c.user, ids.short()))); ok {
			tx.Delete(a.key)
			*count--
		}
	}
	for ids := c.add; !ids.done(); {
		if _, ok := tx.Get(a.keyOf(appendPeerKey(a.key[:0], p, c.list.row(), c.user, ids.short()))); !ok {
			a.value = binary.AppendUvarint(a.value[:0], uint64(now))
			tx.Put(a.key, a.value)
			*count++
		}
	}
	a.putUser(tx, p, c.user, &u)
	return outcome{}
}

// blocks tells whether owner, whose row is u, blocks other: then nothing of other
// reaches his log. The block row must be among the command's reads; level 1
// knows no blocks.
func (a *applier) blocks(tx Tx, st *settings, p godwit.Partition, u *userRow, owner, other []byte) bool {
	if st.level < 2 || u.blocked == 0 {
		return false
	}
	_, ok := tx.Get(a.keyOf(appendPeerKey(a.key[:0], p, rowBlock, owner, other)))
	return ok
}
