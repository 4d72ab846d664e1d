package chat

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/godwit-im/godwit"
)

// Pages of members and of groups.
const (
	groupPage    = 100
	groupPageMax = 500
	// receiptBuckets are read under one lock; more would hold up the raft group.
	receiptBuckets = 16
)

// see runs f for who may look at the task's group: a member, or the operator.
func (t *groupTask) see(f func(v View, g *groupRow, m *memberRow)) *godwit.Error {
	if refusal := t.current(t.at()); refusal != nil {
		return refusal
	}
	allowed := false
	err := t.view(t.at(), func(v View) {
		g, ok := groupRowOf(v, t.group)
		m, _ := memberOf(v, t.group, bytesOf(t.user))
		if allowed = ok && (m.isMember() || t.operator); allowed {
			f(v, &g, &m)
		}
	})
	if err == nil && !allowed {
		return godwit.ErrNotMember
	}
	return err
}

func (t *groupTask) info() (reply godwit.GroupReply, refusal *godwit.Error) {
	refusal = t.see(func(_ View, g *groupRow, m *memberRow) { reply = t.reply(g, m.current()) })
	return reply, refusal
}

// members pages through the buckets; within one by user id, so that a page goes
// on rightly whoever came or left meanwhile.
func (t *groupTask) members() (reply godwit.GroupReply, refusal *godwit.Error) {
	cursor, ok := parseGroupCursor(t.next)
	if !ok {
		return reply, godwit.ErrBadCursor
	}
	limit := t.page()
	refusal = t.see(func(v View, g *groupRow, m *memberRow) {
		reply = t.reply(g, m.current())
		for ; cursor.bucket < g.buckets; cursor = (groupCursor{bucket: cursor.bucket + 1}) {
			for _, e := range listed(v, t.group, cursor) {
				if len(reply.Members) == limit {
					reply.Next = cursor.String()
					return
				}
				row, _ := memberOf(v, t.group, e.user)
				cursor.user = e.user
				reply.Members = append(reply.Members, godwit.Member{
					User: godwit.UserID(e.user), Role: e.role.String(), Since: e.since, Delivered: max(row.delivered, row.read), Read: row.read,
				})
			}
		}
	})
	return reply, refusal
}

// listed are the members of a bucket behind the cursor, by their ids.
func listed(v View, group []byte, c groupCursor) (entries []bucketEntry) {
	eachOfBucket(v, group, c.bucket, func(e bucketEntry) bool {
		if e.left == 0 && bytes.Compare(e.user, c.user) > 0 {
			entries = append(entries, e)
		}
		return true
	})
	slices.SortFunc(entries, func(a, b bucketEntry) int { return bytes.Compare(a.user, b.user) })
	return entries
}

func (t *groupTask) page() int {
	if t.limit == 0 {
		return groupPage
	}
	return min(t.limit, groupPageMax)
}

// receipts counts members by their marks, some buckets under one lock at a time.
func (t *groupTask) receipts() (reply godwit.GroupReply, refusal *godwit.Error) {
	if t.gseq == 0 {
		return reply, godwit.ErrFrameInvalid
	}
	visible := false
	for n, buckets := uint64(0), uint64(1); n < buckets && refusal == nil; n += receiptBuckets {
		refusal = t.see(func(v View, g *groupRow, m *memberRow) {
			if buckets = g.buckets; n == 0 {
				visible = t.gseq <= g.head && (t.operator || m.maySee(t.gseq, g.flags&groupHistoryAll != 0))
				reply = t.reply(g, m.current())
			}
			for b := n; visible && b < min(n+receiptBuckets, buckets); b++ {
				eachOfBucket(v, t.group, b, func(e bucketEntry) bool {
					t.count(v, e, &reply)
					return true
				})
			}
		})
	}
	if refusal == nil && !visible {
		refusal = godwit.ErrNotMember
	}
	reply.GSeq = t.gseq
	return reply, refusal
}

func (t *groupTask) count(v View, e bucketEntry, reply *godwit.GroupReply) {
	if e.left != 0 {
		return
	}
	m, _ := memberOf(v, t.group, e.user)
	if max(m.delivered, m.read) >= t.gseq {
		reply.Delivered++
	}
	if m.read >= t.gseq {
		reply.Read++
	}
}

// list pages through the groups that the user's log knows, by their ids.
func (t *groupTask) list() (reply godwit.GroupReply, refusal *godwit.Error) {
	own := t.service.cfg.Store.Group(t.user.Partition())
	cursor, ok := parseGroupCursor(t.next)
	if !ok {
		return reply, godwit.ErrBadCursor
	}
	if refusal = t.current(own); refusal != nil {
		return reply, refusal
	}
	limit := t.page()
	var groups [][]byte
	prefix := append(appendOwnedPrefix(nil, t.user.Partition(), rowConversation, bytesOf(t.user)), groupPrefix...)
	refusal = t.view(own, func(v View) {
		v.Scan(prefix, func(key, value []byte) bool {
			var c conversationRow
			if id := key[len(prefix):]; bytes.Compare(id, cursor.user) > 0 && c.parse(value) && c.isMember() {
				groups = append(groups, bytes.Clone(id))
			}
			return len(groups) <= limit
		})
	})
	if refusal != nil {
		return reply, refusal
	}
	if len(groups) > limit {
		groups = groups[:limit]
		reply.Next = groupCursor{user: groups[limit-1]}.String()
	}
	reply.Groups, refusal = t.items(groups)
	return reply, refusal
}

// items tells of groups the user is a member of, by their ids.
func (t *groupTask) items(groups [][]byte) (items []godwit.GroupItem, refusal *godwit.Error) {
	byGroup := make(map[int][][]byte)
	for _, id := range groups {
		at := t.service.cfg.Store.Group(groupOfID(id).Partition())
		byGroup[at] = append(byGroup[at], id)
	}
	for at, ids := range byGroup {
		err := t.view(at, func(v View) {
			for _, id := range ids {
				g, ok := groupRowOf(v, id)
				m, _ := memberOf(v, id, bytesOf(t.user))
				if !ok || !m.isMember() {
					continue
				}
				items = append(items, godwit.GroupItem{
					Group: godwit.GroupID(id), Conv: godwit.ConversationID("g:" + string(id)), Name: string(g.name),
					Role: m.role.String(), Count: uint32(g.members), Channel: g.isChannel(),
				})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(items, func(a, b godwit.GroupItem) int { return cmp.Compare(a.Group, b.Group) })
	return items, nil
}

// groupCursor says behind which bucket and id a page begins. It is opaque to
// clients: version 1, a uvarint and the id in base64url.
type groupCursor struct {
	bucket uint64
	user   []byte
}

const groupCursorVersion = 1

func (c groupCursor) String() string {
	b := binary.AppendUvarint([]byte{groupCursorVersion}, c.bucket)
	return base64.RawURLEncoding.EncodeToString(append(b, c.user...))
}

func parseGroupCursor(text []byte) (c groupCursor, ok bool) {
	if len(text) == 0 {
		return c, true
	}
	b, err := base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	r := reader{b: b}
	version := r.u8()
	c.bucket, c.user = r.uvarint(), r.b
	return c, err == nil && !r.bad && version == groupCursorVersion && c.bucket < 1<<32 && godwit.ValidID(c.user)
}
