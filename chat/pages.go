package chat

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/godwit-im/godwit"
)

// limit clamps the page a client asks for; 0 is the server's page.
func (s *Service) limit(asked uint32) int {
	if asked == 0 || asked > uint32(s.cfg.PageMax) {
		return s.cfg.PageMax
	}
	return int(asked)
}

// sync reads the user's log: after Since, or From..To.
func (s *Service) sync(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.Sync) {
	after := f.Since
	ranged := f.From != 0 || f.To != 0
	switch {
	case ranged && (f.Since != 0 || f.From == 0 || f.To < f.From):
		s.refuse(session, id, godwit.ErrFrameInvalid)
		return
	case f.Since > godwit.SeqMax || f.To > godwit.SeqMax:
		s.refuse(session, id, godwit.ErrBadCursor)
		return
	case ranged:
		after = f.From - 1
	}
	s.startRead(&read{
		request: request{session: session, id: id, what: requestRead}, do: (*read).sync, user: user,
		after: after, to: f.To, limit: s.limit(f.Limit), bytesMax: s.cfg.PageBytesMax,
	})
}

func (r *read) sync(w *readWorker, v View) answer {
	entries, head, refusal := w.since(v, r, w.entries[:0])
	if refusal != nil {
		return w.refuse(refusal)
	}
	w.entries = entries
	w.frame.Kind, w.frame.Sync = godwit.KindSync, godwit.SyncReply{Entries: entries, Head: head}
	return answerFrame
}

// history reads one conversation, before or after a sequence, or its newest page.
func (s *Service) history(session godwit.SessionID, user godwit.UserID, id uint64, f *godwit.History) {
	conv, err := godwit.ParseConversationID(string(f.Conv))
	refusal := (*godwit.Error)(nil)
	switch {
	case err != nil:
		refusal = godwit.ErrBadConv
	case strings.HasPrefix(string(conv), "g:"):
		refusal = godwit.ErrNotMember
	case f.Before != 0 && (f.HasAfter || f.After != 0):
		refusal = godwit.ErrFrameInvalid
	case f.Before > godwit.SeqMax || f.After > godwit.SeqMax:
		refusal = godwit.ErrBadCursor
	}
	if refusal != nil {
		s.refuse(session, id, refusal)
		return
	}
	s.startRead(&read{
		request: request{session: session, id: id, what: requestRead}, do: (*read).history, user: user, conv: conv,
		page: godwit.Page{
			Before: f.Before, After: f.After, Forward: f.HasAfter || f.After != 0,
			Limit: s.limit(f.Limit), BytesMax: s.cfg.PageBytesMax,
		},
	})
}

// history of a conversation the reader does not have is an empty page: a peer
// nobody wrote to and one who does not exist look alike.
func (r *read) history(w *readWorker, v View) answer {
	w.frame.Kind = godwit.KindHistory
	w.frame.History = godwit.HistoryReply{}
	u, refusal := userOfView(v, r.user)
	if refusal != nil {
		return w.refuse(refusal)
	}
	peer, _ := r.conv.Peer()
	row, ok := v.Get(appendConversationKey(nil, r.user.Partition(), bytesOf(r.user), bytesOf(peer)))
	if !ok {
		return answerFrame
	}
	var c conversationRow
	if !c.parse(row) {
		return w.refuse(godwit.ErrInternal)
	}
	log := u.logID(r.user)
	r.page.Newest = c.last
	records, more := v.Conversation(log, uint32(c.number), r.page, w.records[:0])
	w.records = records
	if w.entries, refusal = w.convert(log, records, w.entries[:0]); refusal != nil {
		return w.refuse(refusal)
	}
	w.frame.History = godwit.HistoryReply{Entries: w.entries, More: more}
	return answerFrame
}

// conversationsCursor is where a page of conversations ends. Its text is
// versioned and opaque to clients.
type conversationsCursor struct {
	set  bool
	last godwit.Seq // of the page's last conversation
}

const cursorVersion = 1

func (c conversationsCursor) String() string {
	return base64.RawURLEncoding.EncodeToString(binary.AppendUvarint([]byte{cursorVersion}, uint64(c.last)))
}

func parseConversationsCursor(text []byte) (c conversationsCursor, ok bool) {
	if len(text) == 0 {
		return c, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(text))
	r := reader{b: raw}
	version := r.u8()
	c = conversationsCursor{set: true, last: r.seq()}
	return c, err == nil && r.done() && version == cursorVersion && c.last > 0
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
	peer []byte // aliases the key
}

// conversations looks at all rows of the user and keeps the newest below the
// cursor, so its cost is that of the user's conversations, which are capped.
func (r *read) conversations(w *readWorker, v View) answer {
	u, refusal := userOfView(v, r.user)
	if refusal != nil {
		return w.refuse(refusal)
	}
	items, ok := w.newest(v, r)
	if !ok {
		return w.refuse(godwit.ErrInternal)
	}
	reply := godwit.ConversationsReply{}
	if len(items) > r.limit {
		items = items[:r.limit]
		reply.Next = conversationsCursor{last: items[len(items)-1].row.last}.String()
	}
	log := u.logID(r.user)
	if u.log != 0 {
		reply.AsOf = v.Head(log)
	}
	w.replies = w.replies[:0]
	ids := w.service.ids.Load()
	size := 0
	for i := range items {
		record, ok := v.Entry(log, items[i].row.last)
		if size += len(record.Body) + len(record.Meta); ok && size > w.service.cfg.PageBytesMax && i > 0 {
			reply.Next = conversationsCursor{last: items[i-1].row.last}.String()
			break
		}
		item := godwit.ConversationItem{
			Conv: godwit.Direct(godwit.UserID(items[i].peer)), Unread: items[i].row.unread(0), Read: items[i].row.read,
		}
		if !ok || !ids.entry(&item.Last, log, &record) {
			return w.refuse(godwit.ErrInternal)
		}
		w.replies = append(w.replies, item)
	}
	reply.Items = w.replies
	w.frame.Kind, w.frame.Conversations = godwit.KindConversations, reply
	return answerFrame
}

// newest returns up to r.limit+1 conversations below the cursor, newest first.
func (w *readWorker) newest(v View, r *read) (items []conversationItem, ok bool) {
	prefix := appendOwnedPrefix(nil, r.user.Partition(), rowConversation, bytesOf(r.user))
	items, ok = w.items[:0], true
	v.Scan(prefix, func(key, value []byte) bool {
		item := conversationItem{peer: key[len(prefix):]}
		if !item.row.parse(value) {
			ok = false
			return false
		}
		last := item.row.last
		if r.cursor.set && last >= r.cursor.last || len(items) > r.limit && last < items[r.limit].row.last {
			return true
		}
		at, _ := slices.BinarySearchFunc(items, last, func(c conversationItem, t godwit.Seq) int {
			return int(min(max(int64(t)-int64(c.row.last), -1), 1))
		})
		items = slices.Insert(items, at, item)
		items = items[:min(len(items), r.limit+1)]
		return true
	})
	w.items = items
	return items, ok
}
