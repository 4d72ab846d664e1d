package chat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/godwit-im/godwit"
)

// TestGroupTranscripts runs testdata/group_*: each file is one rule. A line of a
// "do" is a user and what he asks for; its answer is behind the colon. They must
// read the same in a cluster of one raft group and of eight.
func TestGroupTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/group_*")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		for _, groups := range []int{1, 8} {
			t.Run(fmt.Sprint(strings.TrimPrefix(filepath.Base(file), "group_"), "/", groups), func(t *testing.T) {
				policy := transcriptConfig(t, file)
				bubble(t, groups, policy, func(s *served) {
					g := &groupTalk{served: s, ids: map[string]string{}}
					datadriven.RunTest(t, file, g.step)
					g.settle()
					checkGroups(t, s.store)
					checkReplays(t, s.store)
				})
			})
		}
	}
}

// transcriptConfig reads "# config key=value…" from a transcript's first line.
func transcriptConfig(t *testing.T, file string) func(*Config) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return func(c *Config) {
		c.Random = countingReader{new(byte)}
		rest, ok := strings.CutPrefix(line, "# config ")
		if !ok {
			return
		}
		for _, field := range strings.Fields(rest) {
			key, value, _ := strings.Cut(field, "=")
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			switch key {
			case "channel_above":
				c.Policy.ChannelAbove = n
			case "members":
				c.Policy.MembersMax = n
			case "groups":
				c.Policy.GroupsMax = n
			case "edit_seconds":
				c.Policy.EditWindow = time.Duration(n) * time.Second
			case "group_send_per_s":
				c.GroupSendPerS = n
			case "dedup_sends":
				c.Genesis.DedupSends = n
			default:
				t.Fatalf("unknown setting %q", key)
			}
		}
	}
}

// countingReader gives other bytes each time.
type countingReader struct{ n *byte }

func (r countingReader) Read(p []byte) (int, error) {
	for i := range p {
		*r.n++
		p[i] = *r.n
	}
	return len(p), nil
}

// groupTalk is a transcript under way.
type groupTalk struct {
	*served
	ids map[string]string // by the name given at creation
}

func (g *groupTalk) step(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	switch d.Cmd {
	case "do":
		for line := range strings.Lines(d.Input) {
			line = strings.TrimSpace(line)
			fmt.Fprintf(&out, "%s: %s\n", line, g.do(t, strings.Fields(line)))
		}
	case "log":
		g.writeLog(&out, d.CmdArgs[0].Key)
	case "row":
		r := g.row(d.CmdArgs[0].Key)
		fmt.Fprintf(&out, "members=%d head=%d messages=%d owner=%s boundary=%d flags=%d overlays=%d\n",
			r.members, r.head, r.messages, r.owner, r.boundary, r.flags, r.overlays)
	case "clock":
		var seconds int64
		d.ScanArgs(t, "seconds", &seconds)
		g.store.mu.Lock()
		g.store.clock += seconds * 1000
		g.store.mu.Unlock()
	case "ticks":
		var n int
		d.ScanArgs(t, "n", &n)
		g.tick(n)
	case "restart":
		policy := transcriptConfig(t, d.Pos[:strings.Index(d.Pos, ":")])
		g.close()
		g.store = g.store.replica()
		g.start(policy)
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	g.settle()
	checkGroups(t, g.store)
	return out.String()
}

// do makes one request. "operator/alice" is the operator in alice's name.
func (g *groupTalk) do(t *testing.T, words []string) string {
	user, verb, words := words[0], words[1], words[2:]
	named, operator := strings.CutPrefix(user, "operator/")
	switch verb {
	case "send":
		return g.say(named, operator, sendFrame("g:"+g.id(words[0]), words[1], strings.Join(words[2:], " ")))
	case "edit", "recall":
		return g.revise(t, named, operator, verb, words)
	case "block", "unblock":
		f := &godwit.ClientFrame{Kind: godwit.KindBlock, Block: godwit.People{Add: byteLists(words)}}
		if verb == "unblock" {
			f.Block = godwit.People{Remove: byteLists(words)}
		}
		if r := g.ask(godwit.UserID(user), f); r.Kind == godwit.KindError {
			return r.Error.Code
		}
		return "ok"
	}
	f := &godwit.ClientFrame{Kind: godwit.KindGroup, Group: godwit.Group{Do: []byte(verb)}}
	if verb == godwit.GroupList {
		words = []string{""}
	}
	name := words[0]
	if verb == godwit.GroupCreate {
		f.Group.Name, f.Group.HasName = []byte(name), true
	} else {
		f.Group.Group = []byte(g.id(name))
	}
	if verb == godwit.GroupRole {
		f.Group.Role, words = []byte(words[1]), words[1:]
	}
	for _, word := range words[1:] {
		key, value, isField := strings.Cut(word, "=")
		switch {
		case !isField:
			f.Group.Users = append(f.Group.Users, []byte(word))
		case key == "name":
			f.Group.Name, f.Group.HasName = []byte(value), true
		case key == "join":
			f.Group.Join = []byte(value)
		case key == "history":
			f.Group.History = []byte(value)
		case key == "cid":
			f.Group.CID = []byte(value)
		default:
			t.Fatalf("unknown field %q", word)
		}
	}
	answer := g.sayFrame(named, operator, f)
	if verb == godwit.GroupCreate && answer.Kind == godwit.KindGroup {
		g.ids[name] = string(answer.Group.Group)
	}
	return g.line(&answer, verb)
}

// id is a group's; a name that nothing was created under stands for itself.
func (g *groupTalk) id(name string) string {
	if id, ok := g.ids[name]; ok {
		return id
	}
	return name
}

func (g *groupTalk) sayFrame(user string, operator bool, f *godwit.ClientFrame) godwit.ServerFrame {
	g.t.Helper()
	if !operator {
		return g.ask(godwit.UserID(user), f)
	}
	reply, err := g.service.Call(g.t.Context(), godwit.UserID(user), f, true)
	if err != nil {
		return godwit.ServerFrame{Kind: godwit.KindError, Error: err.(*godwit.Error).Reply(0)}
	}
	return *reply
}

func (g *groupTalk) say(user string, operator bool, f *godwit.ClientFrame) string {
	r := g.sayFrame(user, operator, f)
	return g.line(&r, "")
}

// line draws an answer.
func (g *groupTalk) line(r *godwit.ServerFrame, verb string) string {
	dup := ""
	switch r.Kind {
	case godwit.KindError:
		return r.Error.Code
	case godwit.KindSend:
		if r.Send.Dup {
			dup = " dup"
		}
		return fmt.Sprint("stored ", r.Send.GSeq, dup)
	case godwit.KindDone:
		if r.Done.Dup {
			dup = " dup"
		}
		return fmt.Sprint("done ", r.Done.GSeq, dup)
	}
	var words []string
	for _, item := range r.Group.Groups {
		words = append(words, fmt.Sprintf("%s=%s/%d", item.Name, item.Role, item.Count))
	}
	if verb == godwit.GroupList {
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	if verb == godwit.GroupMembers {
		for _, m := range r.Group.Members {
			words = append(words, fmt.Sprintf("%s=%s@%d", m.User, m.Role, m.Since))
		}
		return strings.Join(words, " ")
	}
	if r.Group.Dup {
		dup = " dup"
	}
	if r.Group.Channel {
		dup += " channel"
	}
	if verb == godwit.GroupInfo {
		dup += fmt.Sprintf(" %q %s %s", r.Group.Name, r.Group.Join, r.Group.History)
	}
	who := r.Group.Role
	if who == "" {
		who = "nobody"
	}
	return fmt.Sprintf("%s, %d members, at %d%s", who, r.Group.Count, r.Group.GSeq, dup)
}

// revise goes past the decoding of message ids.
func (g *groupTalk) revise(t *testing.T, user string, operator bool, verb string, words []string) string {
	row := g.row(words[0])
	var edit *godwit.Edit
	if verb == "edit" {
		edit = &godwit.Edit{Text: []byte(strings.Join(words[2:], " ")), HasText: true}
	}
	seq, err := strconv.Atoi(words[1])
	if err != nil {
		t.Fatal(err)
	}
	id, session := uint64(len(g.edge.replies)+1), godwit.SessionID(1)
	if operator {
		t.Fatal("the operator revises by calls only")
	}
	g.service.reviseAt(session, godwit.UserID(user), id, row.logID([]byte(g.id(words[0]))), godwit.Seq(seq), edit)
	g.settle()
	answers := g.edge.replies[id]
	if len(answers) != 1 {
		t.Fatalf("%d answers", len(answers))
	}
	return g.line(&answers[0], "")
}

// row is a group's row, dissolved ones included.
func (g *groupTalk) row(name string) (row groupRow) {
	id := []byte(g.id(name))
	v := g.store.View(g.store.Group(groupOfID(id).Partition()))
	defer v.Close()
	value, _ := v.Get(appendGroupKey(nil, id))
	if !row.parse(bytes.Clone(value)) {
		g.t.Fatalf("row of %s does not parse", name)
	}
	return row
}

// writeLog draws a group's log.
func (g *groupTalk) writeLog(out *strings.Builder, name string) {
	row := g.row(name)
	id := []byte(g.id(name))
	v := g.store.View(g.store.Group(groupOfID(id).Partition()))
	defer v.Close()
	for _, r := range v.Since(row.logID(id), 0, 1<<30, 1<<30, nil) {
		var m meta
		if !m.parse(r.Meta) {
			g.t.Fatalf("meta of %d does not parse", r.Seq)
		}
		fmt.Fprintf(out, "%d #%d ", r.Seq, m.ordinal)
		if m.kind == recordChange {
			c, ok := parseGroupChange(r.Body)
			if !ok {
				g.t.Fatalf("change %d does not parse", r.Seq)
			}
			fmt.Fprintln(out, changeLine(&c))
			continue
		}
		b, ok := parseBlock(r.Body)
		if !ok {
			g.t.Fatalf("block %d does not parse", r.Seq)
		}
		switch m.kind {
		case recordMessage:
			fmt.Fprintf(out, "%s: %s\n", b.from[2:], b.body)
		case recordEdit:
			fmt.Fprintf(out, "%s edits %d: %s\n", b.from[2:], m.originSeq, b.body)
		case recordRecall:
			fmt.Fprintf(out, "%s recalls %d\n", b.from[2:], m.originSeq)
		default:
			g.t.Fatalf("record of kind %d", m.kind)
		}
	}
}

func changeLine(c *groupChange) string {
	var users []string
	for user := range c.named() {
		users = append(users, string(user))
	}
	line := fmt.Sprintf("%s by %s", c.do, c.by)
	if len(users) > 0 {
		line += ": " + strings.Join(users, " ")
	}
	if c.role != roleNone {
		line += " role=" + c.role.String()
	}
	if c.has&hasName != 0 {
		line += fmt.Sprintf(" name=%s", c.name)
	}
	if c.has&hasJoin != 0 {
		line += fmt.Sprintf(" open=%t", c.open)
	}
	if c.has&hasHistory != 0 {
		line += fmt.Sprintf(" all=%t", c.all)
	}
	if c.boundary != 0 {
		line += fmt.Sprintf(" boundary=%d", c.boundary)
	}
	return fmt.Sprintf("%s (%d)", line, c.count)
}
