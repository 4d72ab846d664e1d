package chat

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/godwit-im/godwit"
)

// place orders conversations, newest first: by time, then by where they stand in
// the reader's log, then by number. Rows of level 1 have no time and are older
// than all others.
type place struct {
	time   int64
	last   godwit.Seq
	number uint64
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(q.time, p.time), cmp.Compare(q.last, p.last), cmp.Compare(q.number, p.number))
}

// conversationsCursor is where a page of conversations ends. Its text is
// versioned and opaque to clients.
type conversationsCursor struct {
	set   bool
	place place // of the page's last conversation
}

const cursorVersion = 2

func (c conversationsCursor) String() string {
	raw := binary.AppendUvarint([]byte{cursorVersion}, uint64(c.place.time))
	raw = binary.AppendUvarint(binary.AppendUvarint(raw, uint64(c.place.last)), c.place.number)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func parseConversationsCursor(text []byte) (c conversationsCursor, ok bool) {
	if len(text) == 0 {
		return c, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(text))
	r := reader{b: raw}
	version := r.u8()
	c = conversationsCursor{set: true, place: place{time: r.millis(), last: r.seq(), number: r.uvarint()}}
	return c, err == nil && r.done() && version == cursorVersion && c.place.number > 0
}

// conversations reads a page of conversations, newest first.
func (s *Service) conversations(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Conversations) {
	cursor, ok := parseConversationsCursor(f.Next)
	if !ok {
		s.refuse(session, id, godwit.ErrBadCursor)
		return
	}
	s.startRead(&read{
		request: request{session: session, id: id, what: requestRead}, do: (*read).conversations, user: user,
		cursor: cursor, limit: s.limit(f.Limit),
	})
}

// conversationItem is a candidate of the page.
type conversationItem struct {
	row  conversationRow
	peer []byte // a user, or "g:" and a group; aliases the key
	time int64  // of the newest entry, in a channel of the channel's

	// of a channel, as far as its reader may see it
	head     godwit.Seq
	messages uint64 // the ordinal at head

	name string // of a group he is in

	peerDelivered, peerRead godwit.Seq

	last godwit.Entry
	next godwit.Seq // where the search for last goes on; 0: it is over
	size int
}

func (c *conversationItem) place() place { return place{c.time, c.row.last, c.row.number} }

// group returns the group of a group's conversation.
func (c *conversationItem) group() (id godwit.GroupID, ok bool) {
	if isGroup(c.peer) {
		return groupOfID(c.peer[2:]), true
	}
	return "", false
}

// conversations looks at all rows of the user and keeps the newest below the
// cursor, so its cost is that of the user's conversations, which are capped.
func (r *read) conversations(w *readWorker, v View) answer {
	u, refusal := userOfView(v, r.user)
	if refusal != nil {
		return w.refuse(refusal)
	}
	items, channels, ok := w.newest(v, r)
	if !ok {
		return w.refuse(godwit.ErrInternal)
	}
	reply := godwit.ConversationsReply{Digest: u.publicDigest()}
	log := u.logID(r.user)
	if u.log != 0 {
		reply.AsOf = v.Head(log)
	}
	if len(channels) > 0 {
		if refusal := w.lookAtChannels(r.user, channels); refusal != nil {
			return w.refuse(refusal)
		}
		for _, item := range channels {
			if item.row.deleted == 0 || item.head > item.row.deleted {
				items = r.keep(items, item)
			}
		}
	}
	more := len(items) > r.limit
	items = items[:min(len(items), r.limit)]
	if refusal := w.lasts(r, log, items); refusal != nil {
		return w.refuse(refusal)
	}
	w.replies = w.replies[:0]
	size := 0
	for i := range items {
		if size += items[i].size; size > w.service.cfg.PageBytesMax && i > 0 {
			items, more = items[:i], true
			break
		}
		w.replies = append(w.replies, items[i].reply())
	}
	if more {
		reply.Next = conversationsCursor{place: items[len(items)-1].place()}.String()
	}
	reply.Items = w.replies
	w.items = items
	w.frame.Kind, w.frame.Conversations = godwit.KindConversations, reply
	return answerFrame
}

// publicDigest is the digest as clients see it: 0 while conversations of level 1
// are not counted yet, and never more than a browser's numbers hold.
func (u *userRow) publicDigest() uint64 {
	if u.counted != u.conversations {
		return 0
	}
	return u.digest & (1<<53 - 1)
}

// newest returns up to r.limit+1 conversations below the cursor, newest first, and
// beside them all channels, whose newest entries are not in the user's log.
func (w *readWorker) newest(v View, r *read) (items, channels []conversationItem, ok bool) {
	prefix := appendOwnedPrefix(nil, r.user.Partition(), rowConversation, bytesOf(r.user))
	items, ok = w.items[:0], true
	v.Scan(prefix, func(key, value []byte) bool {
		item := conversationItem{peer: key[len(prefix):]}
		if !item.row.parse(value) {
			ok = false
			return false
		}
		item.time = item.row.time
		switch {
		case item.row.isChannel():
			channels = append(channels, item)
		case !item.row.isHidden():
			items = r.keep(items, item)
		}
		return true
	})
	return items, channels, ok
}

// keep puts an item in its place if it belongs to the page, or shows that there
// is a next one.
func (r *read) keep(items []conversationItem, item conversationItem) []conversationItem {
	at := item.place()
	if r.cursor.set && at.compare(r.cursor.place) <= 0 || len(items) > r.limit && at.compare(items[r.limit].place()) > 0 {
		return items
	}
	i, _ := slices.BinarySearchFunc(items, at, func(c conversationItem, p place) int { return c.place().compare(p) })
	items = slices.Insert(items, i, item)
	return items[:min(len(items), r.limit+1)]
}

// reply is the item as clients see it.
func (c *conversationItem) reply() godwit.ConversationItem {
	item := godwit.ConversationItem{
		Last: c.last, Unread: c.row.unread(c.messages), Read: c.row.read, Delivered: c.row.delivered,
		Mute: c.row.mute, Pin: c.row.flags&convPinned != 0, Archive: c.row.flags&convArchived != 0,
		PeerDelivered: c.peerDelivered, PeerRead: c.peerRead,
	}
	if id, ok := c.group(); ok {
		item.Conv, item.Name, item.GSeq = godwit.ConversationID("g:"+id), c.name, c.row.gseq
		if c.row.isChannel() {
			item.Channel, item.GSeq = true, c.head
		}
		return item
	}
	item.Conv = godwit.Direct(userOf(c.peer))
	return item
}
