//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// apply sets what is given. What is deleted counts as read, of which nobody else
// is told. Like a mark, settings are a row and a record that moves.
func (c *conversationCommand) apply(a *applier, tx Tx, _ header, st *settings) outcome {
	p := userOf(c.user).Partition()
	if st.group(p) != tx.Group() {
		return outcome{refusal: godwit.ErrFrameInvalid}
	}
	u := a.user(tx, p, c.user)
	conv := a.conversation(tx, p, c.user, c.peer)
	switch {
	case u.log == 0 || conv.number == 0:
		return outcome{refusal: godwit.ErrNotMember}
	case c.deleted != 0 && conv.isChannel() != c.channel:
		return outcome{refusal: godwit.ErrUnavailable} // the leader looks again
	}
	log := godwit.NewLogID(p, u.log)
	if !c.changes(&conv) {
		return outcome{log: log, seq: conv.settingsSeq, dup: true}
	}
	u.time = max(u.time, tx.Stamp())
	if c.given&givenMute != 0 {
		conv.mute = c.mute
	}
	conv.flags = conv.flags&^c.mask() | c.flags
	if c.deleted > conv.deleted {
		conv.deleted, conv.deletedGSeq = c.deleted, max(conv.deletedGSeq, c.gseq)
		if conv.raise(c.deleted, c.deleted, c.ordinal) {
			a.moveMark(tx, log, c.user, c.peer, &u, &conv, c.ordinal)
		}
		if !c.channel {
			tx.EraseConversation(log, uint32(conv.number), c.deleted)
		}
	}
	m := meta{kind: recordSettings, ordinal: conv.incoming}
	a.meta = m.append(a.meta[:0])
	conv.settingsSeq = tx.Append(log, godwit.Record{Time: u.time, Meta: a.meta, Body: c.peer})
	a.putConversation(tx, p, st, c.user, c.peer, &u, &conv)
	a.putUser(tx, p, c.user, &u)
	e := &godwit.Entry{Seq: conv.settingsSeq, Kind: godwit.EntrySettings, Settings: conv.settings(c.peer)}
	a.effects.hints = append(a.effects.hints, hint{other: true, made: e, user: c.user, seq: conv.settingsSeq})
	return outcome{log: log, seq: conv.settingsSeq}
}

// changes tells whether the command would leave the row other than it is.
func (c *conversationCommand) changes(conv *conversationRow) bool {
	return c.given&givenMute != 0 && c.mute != conv.mute || conv.flags&c.mask() != c.flags || c.deleted > conv.deleted
}

// settings is what the owner alone sees of the conversation.
func (c *conversationRow) settings(peer []byte) *godwit.ConversationSettings {
	return &godwit.ConversationSettings{
		Conv: conversationWith(peer), Mute: c.mute, Pin: c.flags&convPinned != 0, Archive: c.flags&convArchived != 0, Deleted: c.deleted,
	}
}
