package chat

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/godwit-im/godwit"
)

// transcript is a running service that a file of testdata tells what to do. The
// same file must come out the same with one raft group and with eight.
type transcript struct {
	*served
	sessions map[string]godwit.SessionID // by user
	seen     map[uint64]bool             // requests whose answer was printed
	asked    uint64
	mids     map[string]godwit.MessageID // of sends, by client id
	groups   map[string]string           // ids by name
	commands uint64                      // proposed when they were last counted
}

func runTranscripts(t *testing.T, pattern string, change func(*Config)) {
	t.Helper()
	files, err := filepath.Glob("testdata/" + pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of %s (%v)", len(files), pattern, err)
	}
	for _, file := range files {
		for _, groups := range []int{1, 8} {
			t.Run(fmt.Sprint(filepath.Base(file), " in ", groups), func(t *testing.T) {
				bubble(t, groups, change, func(s *served) {
					x := &transcript{
						served: s, sessions: map[string]godwit.SessionID{}, seen: map[uint64]bool{},
						mids: map[string]godwit.MessageID{}, groups: map[string]string{},
					}
					datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
						out := x.step(d)
						for name, id := range x.groups { // ids are random
							out = strings.ReplaceAll(out, id, name)
						}
						for cid, mid := range x.mids {
							out = strings.ReplaceAll(out, mid.String(), "id of "+cid)
						}
						return out
					})
				})
			})
		}
	}
}

func arg(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return ""
}

func number(d *datadriven.TestData, key string) (n uint64) {
	fmt.Sscan(arg(d, key), &n)
	return n
}

// step runs one directive and returns what it shows.
//
//tidy:long one directive a case
func (x *transcript) step(d *datadriven.TestData) string {
	if len(d.CmdArgs) == 0 {
		x.t.Fatalf("%s: %s names nobody", d.Pos, d.Cmd)
	}
	user := godwit.UserID(d.CmdArgs[0].Key)
	switch d.Cmd {
	case "send":
		f := sendFrame(x.conv(arg(d, "to")), arg(d, "cid"), strings.TrimSpace(d.Input))
		reply := x.ask(user, f)
		x.seen[f.ID] = true
		x.mids[arg(d, "cid")] = reply.Send.MID
		reply.Send.MID, reply.Send.Time, reply.ID = godwit.MessageID{}, 0, 0
		if reply.Kind == godwit.KindError {
			return reply.Error.Code
		}
		if reply.Send.GSeq != 0 {
			return fmt.Sprintf("stored %d, in the group %d", reply.Send.Seq, reply.Send.GSeq)
		}
		return fmt.Sprint("stored ", reply.Send.Seq)
	case "group":
		return x.group(user, d)
	case "members":
		return x.members(user, d.CmdArgs[1].Key)
	case "mark":
		return x.request(user, &godwit.ClientFrame{Kind: godwit.KindMark, Mark: godwit.Mark{
			Conv: []byte(x.conv(arg(d, "conv"))), Delivered: godwit.Seq(number(d, "delivered")), Read: godwit.Seq(number(d, "read")),
		}})
	case "edit":
		return x.request(user, &godwit.ClientFrame{Kind: godwit.KindEdit, Edit: godwit.Edit{
			MID: x.mid(d), Text: []byte(strings.TrimSpace(d.Input)), HasText: true,
		}})
	case "recall":
		return x.request(user, &godwit.ClientFrame{Kind: godwit.KindRecall, Recall: godwit.Recall{MID: x.mid(d)}})
	case "settings":
		return x.request(user, &godwit.ClientFrame{Kind: godwit.KindConversation, Conversation: x.settingsOf(d)})
	case "log":
		r := x.ask(user, &godwit.ClientFrame{Kind: godwit.KindSync, Sync: godwit.Sync{Since: godwit.Seq(number(d, "since"))}})
		var out []string
		for i := range r.Sync.Entries {
			f := godwit.ServerFrame{Kind: godwit.KindEvent, Event: r.Sync.Entries[i]}
			out = append(out, string(f.AppendTo(nil, godwit.EncodingJSON)))
		}
		return strings.Join(out, "\n")
	case "block":
		r := x.ask(user, &godwit.ClientFrame{Kind: godwit.KindBlock, Block: godwit.People{Add: [][]byte{[]byte(d.CmdArgs[1].Key)}}})
		return fmt.Sprint(r.People.Users)
	case "conversations":
		r := x.ask(user, &godwit.ClientFrame{Kind: godwit.KindConversations})
		var out []string
		for i := range r.Conversations.Items {
			item := &r.Conversations.Items[i]
			out = append(out, fmt.Sprintf("%s unread %d, read %d, delivered %d, peer read %d, delivered %d: %s",
				item.Conv, item.Unread, item.Read, item.Delivered, item.PeerRead, item.PeerDelivered, line(&item.Last)))
		}
		return strings.Join(out, "\n")
	case "records":
		return x.records(user)
	case "clock":
		x.store.clock += int64(number(d, "seconds")) * 1000
		return ""
	case "tick":
		n := 0
		fmt.Sscan(d.CmdArgs[0].Key, &n)
		x.tick(n)
		return x.answers()
	case "connect":
		session := godwit.SessionID(len(x.sessions) + 1)
		x.sessions[string(user)] = session
		x.service.Connect(session, godwit.Hello{User: user, Device: "d"})
		x.settle()
		return ""
	case "live":
		return x.live(user)
	case "row":
		return x.row(user, godwit.UserID(x.conv(d.CmdArgs[1].Key)))
	case "entries":
		return fmt.Sprint(x.entries(user))
	case "commands":
		n := x.store.count - x.commands
		x.commands = x.store.count
		if user == "reset" {
			return ""
		}
		return fmt.Sprint(n)
	}
	x.t.Fatalf("%s: unknown directive %s", d.Pos, d.Cmd)
	return ""
}

// request makes a request and returns its answer, or that it waits.
func (x *transcript) request(user godwit.UserID, f *godwit.ClientFrame) string {
	x.asked++
	f.ID = 1000 + x.asked
	x.service.Request(1, user, f)
	x.settle()
	return x.answers()
}

// answers prints what was answered since, in order of the requests.
func (x *transcript) answers() string {
	x.edge.mu.Lock()
	defer x.edge.mu.Unlock()
	var out strings.Builder
	var ids []uint64
	for id := range x.edge.replies {
		if id > 1000 && !x.seen[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		x.seen[id] = true
		for _, f := range x.edge.replies[id] {
			if f.Kind == godwit.KindError {
				fmt.Fprintf(&out, "%d: %s\n", id-1000, f.Error.Code)
				continue
			}
			f.ID = 0
			fmt.Fprintf(&out, "%d: %s\n", id-1000, f.AppendTo(nil, godwit.EncodingJSON))
		}
	}
	if out.Len() == 0 {
		return "waits"
	}
	return out.String()
}

// live prints what a user's session was sent since it was last printed.
func (x *transcript) live(user godwit.UserID) string {
	x.edge.mu.Lock()
	defer x.edge.mu.Unlock()
	session := x.sessions[string(user)]
	out := strings.Join(x.edge.hints[session], "\n")
	x.edge.hints[session] = nil
	if out == "" {
		return "nothing"
	}
	return out
}

// row prints a conversation as its owner's rows have it.
func (x *transcript) row(user, peer godwit.UserID) string {
	v := x.store.View(x.store.Group(user.Partition()))
	defer v.Close()
	u, _ := userOfView(v, user)
	var c conversationRow
	value, ok := v.Get(appendConversationKey(nil, user.Partition(), []byte(user), []byte(peer)))
	if !ok {
		return "none"
	}
	if !c.parse(value) {
		x.t.Fatal("conversation row does not parse")
	}
	settings := ""
	if c.settingsSeq != 0 {
		settings = fmt.Sprintf("; mute %d, flags %d, deleted %d, at %d, digest %t", c.mute, c.flags&^convCounted, c.deleted, c.settingsSeq, c.digest([]byte(peer)) != 0)
	}
	out := fmt.Sprintf("last %d, unread %d of %d, delivered %d, read %d, mark at %d",
		c.last, c.unread(0), c.incoming, c.delivered, c.read, c.markSeq)
	if c.isChannel() {
		out = fmt.Sprintf("channel, read through ordinal %d, delivered %d, read %d, mark at %d", c.readIncoming, c.delivered, c.read, c.markSeq)
	}
	out += settings
	var m peerMarkRow
	if value, ok := v.Get(appendMarkKey(nil, user.Partition(), []byte(user), []byte(peer))); ok {
		if !m.parse(value) {
			x.t.Fatal("mark row does not parse")
		}
		out += fmt.Sprintf("; %s delivered %d, read %d, at %d", peer, m.delivered, m.read, m.seq)
	}
	if digest := c.digest([]byte(peer)); u.counted == 1 && u.digest != digest {
		out += fmt.Sprintf("; digest %x, want %x", u.digest, digest)
	}
	return out
}

// entries counts the entries of a user's log.
func (x *transcript) entries(user godwit.UserID) godwit.Seq {
	v := x.store.View(x.store.Group(user.Partition()))
	defer v.Close()
	u, _ := userOfView(v, user)
	return v.Head(u.logID(user))
}

// mid is the id of a message that was sent here, or the argument itself.
func (x *transcript) mid(d *datadriven.TestData) []byte {
	if mid, ok := x.mids[arg(d, "cid")]; ok {
		return []byte(mid.String())
	}
	return []byte(arg(d, "mid"))
}

// records draws a user's log as it is stored.
func (x *transcript) records(user godwit.UserID) string {
	v := x.store.View(x.store.Group(user.Partition()))
	defer v.Close()
	u, _ := userOfView(v, user)
	var out strings.Builder
	for _, r := range v.Since(u.logID(user), 0, 1<<20, 1<<30, nil) {
		var m meta
		if !m.parse(r.Meta) {
			x.t.Fatalf("record %d of %s does not parse", r.Seq, user)
		}
		side := "own"
		if m.incoming {
			side = "incoming"
		}
		name := []string{"message", "mark", "edit", "recall", "pointer", "change", "settings"}[m.kind]
		fmt.Fprintf(&out, "%d %s %s, ordinal %d", r.Seq, side, name, m.ordinal)
		if m.kind == recordEdit || m.kind == recordRecall {
			fmt.Fprintf(&out, ", of %d", m.originSeq)
		}
		if b, ok := parseBlock(r.Body); ok && m.kind != recordMark && m.kind != recordSettings {
			fmt.Fprintf(&out, ", from %s to %s: %q", b.from, b.to, b.body)
		} else {
			fmt.Fprintf(&out, ", %s", r.Body)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func (x *transcript) settingsOf(d *datadriven.TestData) (f godwit.ConversationChange) {
	f.Conv = []byte(x.conv(arg(d, "conv")))
	f.HasMute = d.HasArg("mute")
	fmt.Sscan(arg(d, "mute"), &f.Mute)
	f.HasPin, f.Pin = d.HasArg("pin"), arg(d, "pin") == "on"
	f.HasArchive, f.Archive = d.HasArg("archive"), arg(d, "archive") == "on"
	f.Delete = godwit.Seq(number(d, "delete"))
	return f
}

// conv puts a group's id for its name.
func (x *transcript) conv(text string) string {
	if name, ok := strings.CutPrefix(text, "g:"); ok && x.groups[name] != "" {
		return "g:" + x.groups[name]
	}
	return text
}

// group makes a request that changes a group; "group alice add team users=(bob)".
func (x *transcript) group(user godwit.UserID, d *datadriven.TestData) string {
	name := d.CmdArgs[2].Key
	f := godwit.Group{Do: []byte(d.CmdArgs[1].Key), Group: []byte(x.groups[name])}
	for _, a := range d.CmdArgs {
		for _, member := range a.Vals {
			f.Users = append(f.Users, []byte(member))
		}
	}
	r := x.ask(user, &godwit.ClientFrame{Kind: godwit.KindGroup, Group: f})
	if r.Kind == godwit.KindError {
		return r.Error.Code
	}
	x.groups[name] = string(r.Group.Group)
	return fmt.Sprintf("%d members", r.Group.Count)
}

// members draws the marks of a group's members.
func (x *transcript) members(user godwit.UserID, name string) string {
	f := godwit.Group{Do: []byte(godwit.GroupMembers), Group: []byte(x.groups[name])}
	r := x.ask(user, &godwit.ClientFrame{Kind: godwit.KindGroup, Group: f})
	if r.Kind == godwit.KindError {
		return r.Error.Code
	}
	var out []string
	for _, m := range r.Group.Members {
		out = append(out, fmt.Sprintf("%s delivered %d, read %d", m.User, m.Delivered, m.Read))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
