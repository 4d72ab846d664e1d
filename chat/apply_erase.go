//tidy:apply

package chat

import "github.com/godwit-im/godwit"

func (c *eraseCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	p := c.owner()
	if c.op != eraseExpired && st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	switch c.op {
	case eraseExpired:
		if c.before > tx.Stamp() {
			return outcome{refusal: godwit.ErrFrameInvalid}
		}
		tx.ExpireBefore(c.before)
	case eraseGroup:
		g, ok := a.group(tx, c.id)
		if !ok {
			return outcome{refusal: godwit.ErrNotMember}
		}
		tx.Erase(g.logID(c.id), g.head)
	case eraseConversation:
		return a.eraseConversation(tx, st, p, c)
	case eraseRows:
		a.eraseRows(tx, p, c)
	case eraseUser:
		return a.eraseUser(tx, p, c)
	}
	return outcome{}
}

// eraseConversation removes what a user has of a 1:1 conversation. It counts as
// read; the row stays, with its number.
func (a *applier) eraseConversation(tx Tx, st *settings, p godwit.Partition, c *eraseCommand) outcome {
	u := a.user(tx, p, c.id)
	conv := a.conversation(tx, p, c.id, c.peer)
	if u.log == 0 || conv.number == 0 {
		return outcome{refusal: godwit.ErrNotMember}
	}
	tx.EraseConversation(godwit.NewLogID(p, u.log), uint32(conv.number), conv.last)
	conv.deleted = max(conv.deleted, conv.last)
	conv.read, conv.delivered = max(conv.read, conv.last), max(conv.delivered, conv.last)
	conv.readIncoming = conv.incoming
	a.putConversation(tx, p, st, c.id, c.peer, &u, &conv)
	a.putUser(tx, p, c.id, &u)
	return outcome{}
}

// eraseRows removes rows of a user and takes them off his counts.
func (a *applier) eraseRows(tx Tx, p godwit.Partition, c *eraseCommand) {
	u := a.user(tx, p, c.id)
	for rows := c.rows; !rows.done(); {
		letter, rest := c.next(&rows)
		row, ok := tx.Get(a.keyOf(appendPeerKey(a.key[:0], p, letter, c.id, rest)))
		if !ok {
			continue
		}
		switch letter {
		case rowConversation:
			var conv conversationRow
			if !conv.parse(row) {
				panic("BUG: conversation row does not parse")
			}
			if conv.flags&convCounted != 0 {
				u.digest -= conv.digest(rest)
				u.counted--
			}
		case rowBlock:
			u.blocked--
		case rowContact:
			u.contacts--
		case rowDevice:
			u.devices--
		}
		tx.Delete(a.key)
	}
	if u.log != 0 {
		a.putUser(tx, p, c.id, &u)
	}
}

// eraseUser removes a user's log. His row stays, with the log's number, so that no
// sequence is used again and no token of before is good. A conversation that began
// meanwhile is in the way: the leader removes it first.
func (a *applier) eraseUser(tx Tx, p godwit.Partition, c *eraseCommand) outcome {
	u := a.user(tx, p, c.id)
	if u.log == 0 {
		return outcome{}
	}
	if u.counted != 0 {
		return outcome{refusal: godwit.ErrUnavailable}
	}
	tx.Erase(godwit.NewLogID(p, u.log), godwit.SeqMax)
	left := userRow{log: u.log, sends: u.sends, time: u.time, loggedOut: max(u.loggedOut, uint64(tx.Stamp()))}
	a.putUser(tx, p, c.id, &left)
	a.effects.logouts = append(a.effects.logouts, logoutEffect{c.id, nil})
	return outcome{}
}
