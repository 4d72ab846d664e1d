package chat

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"pgregory.net/rapid"
)

// groupModel is a group as one would write it down: who is in it, and its log.
type groupModel struct {
	open    bool
	name    string
	roles   map[string]role
	log     []string
	channel bool
	sent    map[string]int // by "user cid": its place in the log
}

// groupChaos makes commands as a leader does and applies some of them late, when
// what the leader had looked up may be no longer so.
type groupChaos struct {
	*world
	rt     *rapid.T
	leader *Service
	users  []string
	groups map[string]*groupModel
	late   []*groupChangeCommand
}

func (c *groupChaos) pick(what string, of []string) string {
	return rapid.SampledFrom(of).Draw(c.rt, what)
}

func (c *groupChaos) some() (users []string) {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(c.users), 1, 6, rapid.ID).Draw(c.rt, "users")
}

func (c *groupChaos) create() {
	id := fmt.Sprint("g", rapid.IntRange(0, 2).Draw(c.rt, "group"))
	by, users := c.pick("by", c.users), c.some()
	slices.Sort(users)
	command := groupCreateCommand{by: []byte(by), group: []byte(id), name: []byte(id), users: usersOf(users...)}
	o := c.runGroup(id, command.append(nil, 0))
	if c.groups[id] != nil {
		if o.refusal != godwit.ErrConflict && !o.dup {
			c.rt.Fatalf("group %s is made twice: %+v", id, o)
		}
		return
	}
	o.mustBe(c.rt, nil)
	g := &groupModel{name: id, roles: map[string]role{by: roleOwner}, sent: map[string]int{}}
	var added []string
	for _, user := range users {
		if user != by {
			g.roles[user] = roleMember
			added = append(added, user)
		}
	}
	c.groups[id] = g
	g.enter("create", by, added)
}

// enter writes a change down, and the one that makes a channel of the group.
func (g *groupModel) enter(do, by string, users []string) {
	g.log = append(g.log, fmt.Sprint(do, " ", by, " ", users, " ", len(g.roles)))
	if !g.channel && len(g.roles) > modelChannelAbove {
		g.channel = true
		g.log = append(g.log, fmt.Sprint("channel ", by, " [] ", len(g.roles)))
	}
}

const modelChannelAbove, modelMembersMax = 70, 120

// change asks for a change, and applies it now or later.
func (c *groupChaos) change() {
	if len(c.groups) == 0 {
		return
	}
	do := c.pick("do", []string{"add", "add", "remove", "leave", "join", "role", "set", "crowd"})
	f := godwit.Group{Do: []byte(do), Group: []byte(c.pick("group", slices.Sorted(maps.Keys(c.groups))))}
	switch do {
	case "add", "remove", "role":
		f.Users, f.Role = byteLists(c.some()), []byte(c.pick("role", []string{"member", "admin", "owner"}))
		if string(f.Role) == "owner" {
			f.Users = f.Users[:1]
		}
	case "crowd": // full buckets, and their return
		f.Do = []byte(c.pick("crowd", []string{"add", "remove"}))
		n := rapid.IntRange(30, 80).Draw(c.rt, "n")
		f.Users = byteLists(manyUsers(n))
	case "set":
		f.Join = []byte(c.pick("join", []string{"open", "invite"}))
	}
	by := c.pick("by", c.users)
	t := &groupTask{service: c.leader, user: godwit.UserID(by), operator: rapid.IntRange(0, 9).Draw(c.rt, "operator") == 0}
	if refusal := t.take(&f); refusal != nil {
		c.rt.Fatalf("%s is refused: %v", f.Do, refusal)
	}
	command, done, refusal := t.command(t.users, 0)
	switch {
	case refusal != nil:
		if refusal != godwit.ErrNotMember {
			c.rt.Fatalf("the leader refuses %s: %v", f.Do, refusal)
		}
		if g := c.groups[string(f.Group)]; g.roles[by] != roleNone && !t.operator {
			c.rt.Fatalf("the leader takes %s for no member of %s", by, f.Group)
		}
	case done != nil:
	case rapid.IntRange(0, 3).Draw(c.rt, "late") == 0:
		c.late = append(c.late, command)
	default:
		c.apply(command, false)
	}
}

func (c *groupChaos) applyLate() {
	if len(c.late) > 0 {
		n := rapid.IntRange(0, len(c.late)-1).Draw(c.rt, "which")
		c.apply(c.late[n], true)
		if rapid.Bool().Draw(c.rt, "again later") {
			return
		}
		c.late = slices.Delete(c.late, n, n+1)
	}
}

// apply runs a command and compares with what the model makes of it.
func (c *groupChaos) apply(command *groupChangeCommand, late bool) {
	id := string(command.group)
	o := c.runGroup(id, command.append(nil, 0))
	if late && o.refusal == godwit.ErrUnavailable {
		return
	}
	refusal, changed := c.groups[id].judge(command)
	if o.refusal != refusal || refusal == nil && o.dup == changed {
		c.rt.Fatalf("%s by %s in %s: %v dup %t, want %v changed %t", command.do, command.by, id, o.refusal, o.dup, refusal, changed)
	}
}

// judge does what a command says, if it is allowed.
//
//tidy:long the rules one after the other
func (g *groupModel) judge(c *groupChangeCommand) (refusal *godwit.Error, changed bool) {
	by := string(c.by)
	power := g.roles[by]
	if c.operator {
		power = roleOperator
	}
	if len(g.roles) == 0 || power == roleNone && !(c.do == doJoin && g.open) {
		return godwit.ErrNotMember, false
	}
	var users []string
	for user := range c.users.each {
		users = append(users, string(user))
	}
	members := func(are bool) []string {
		return slices.DeleteFunc(slices.Clone(users), func(user string) bool { return (g.roles[user] != roleNone) != are })
	}
	var to []string
	switch c.do {
	case doSet:
		open := c.flags&groupOpen != 0
		if power < roleOwner {
			return godwit.ErrForbidden, false
		}
		if changed = g.open != open; changed {
			g.open = open
			g.enter("set", by, nil)
		}
		return nil, changed
	case doAdd, doJoin:
		if c.do == doAdd && power < roleAdmin {
			return godwit.ErrForbidden, false
		}
		if to = members(false); len(g.roles)+len(to) > modelMembersMax && len(to) > 0 {
			return godwit.ErrMembers, false
		}
		for _, user := range to {
			g.roles[user] = roleMember
		}
	case doRemove:
		if power < roleAdmin {
			return godwit.ErrForbidden, false
		}
		to = members(true)
		if slices.ContainsFunc(to, func(user string) bool { return g.roles[user] >= power }) {
			return godwit.ErrForbidden, false
		}
		for _, user := range to {
			delete(g.roles, user)
		}
	case doLeave:
		if to = members(true); len(to) == 0 {
			return godwit.ErrNotMember, false
		}
		if g.roles[by] == roleOwner && len(g.roles) > 1 {
			return godwit.ErrForbidden, false
		}
		delete(g.roles, by)
	case doRole:
		if power < roleOwner {
			return godwit.ErrForbidden, false
		}
		for _, user := range users { // in the order apply looks at them
			switch g.roles[user] {
			case roleNone:
				return godwit.ErrNotMember, false
			case c.role:
			case roleOwner:
				return godwit.ErrForbidden, false
			default:
				to = append(to, user)
			}
		}
		if c.role == roleOwner && len(to) > 0 {
			for user, r := range g.roles {
				if r == roleOwner {
					g.roles[user] = roleAdmin
				}
			}
		}
		for _, user := range to {
			g.roles[user] = c.role
		}
	}
	if len(to) > 0 {
		g.enter(c.do.String(), by, to)
	}
	return nil, len(to) > 0
}

func (c *groupChaos) send() {
	if len(c.groups) == 0 {
		return
	}
	id, by := c.pick("group", slices.Sorted(maps.Keys(c.groups))), c.pick("by", c.users)
	cid := fmt.Sprint("m", rapid.IntRange(0, 5).Draw(c.rt, "cid"))
	block := appendGroupBlock(appendGroupSendHead(nil, 0, false, 0), []byte(by), []byte(id), []byte(cid), nil, []byte(cid), true)
	o := c.runGroup(id, block)
	g := c.groups[id]
	key := by + " " + cid
	switch at, sent := g.sent[key]; {
	case sent:
		if !o.dup || int(o.gseq) != at {
			c.rt.Fatalf("%s in %s was stored at %d, a repeat answers %+v", key, id, at, o)
		}
	case g.roles[by] == roleNone:
		o.mustBe(c.rt, godwit.ErrNotMember)
	default:
		o.mustBe(c.rt, nil)
		g.log = append(g.log, "message "+key)
		if g.sent[key] = len(g.log); o.dup || int(o.gseq) != len(g.log) {
			c.rt.Fatalf("%s in %s is stored at %d: %+v", key, id, len(g.log), o)
		}
	}
}

func (c *groupChaos) crash() {
	before := c.store.digests()
	c.store = c.store.replica()
	c.leader.cfg.Store = c.store
	if !slices.Equal(before, c.store.digests()) {
		c.rt.Fatal("a replay gives another state")
	}
}

// check compares every group with its model.
func (c *groupChaos) check() {
	checkGroups(c.rt, c.store)
	for id, g := range c.groups {
		v := c.store.View(c.store.Group(godwit.GroupID(id).Partition()))
		roles := map[string]role{}
		eachMember(v, []byte(id), 0, func(e bucketEntry) bool {
			if e.left == 0 {
				roles[string(e.user)] = e.role
			}
			return true
		})
		if !maps.Equal(roles, g.roles) {
			c.rt.Fatalf("members of %s are %v, want %v", id, roles, g.roles)
		}
		row := groupRow{}
		value, _ := v.Get(appendGroupKey(nil, []byte(id)))
		row.parse(value)
		var log []string
		for _, r := range v.Since(row.logID([]byte(id)), 0, 1<<30, 1<<30, nil) {
			log = append(log, recordLine(&r))
		}
		v.Close()
		if !slices.Equal(log, g.log) {
			c.rt.Fatalf("log of %s is\n%s\nwant\n%s", id, strings.Join(log, "\n"), strings.Join(g.log, "\n"))
		}
	}
}

func recordLine(r *godwit.Record) string {
	if b, ok := parseBlock(r.Body); ok && len(r.Meta) > 0 && r.Meta[0]>>metaKind == byte(recordMessage) {
		return fmt.Sprintf("message %s %s", b.from[2:], b.cid)
	}
	c, _ := parseGroupChange(r.Body)
	users := []string{}
	for user := range c.named() {
		users = append(users, string(bytes.Clone(user)))
	}
	return fmt.Sprint(c.do, " ", string(c.by), " ", users, " ", c.count)
}

func TestGroupsAreWhatAModelMakesOfTheirCommands(t *testing.T) {
	for _, groups := range []int{1, 8} {
		t.Run(fmt.Sprint(groups), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				w := newWorld(t, groups, func(s *settings) {
					level2(s)
					s.policy.channelAbove, s.policy.membersMax = modelChannelAbove, modelMembersMax
				})
				c := &groupChaos{
					world: w, rt: rt, leader: &Service{cfg: Config{Store: w.store}}, groups: map[string]*groupModel{},
					users: []string{"alice", "bob", "carol", "dave", "erin", "frank", "user000007", "user000050"},
				}
				_ = c.leader.cfg.Policy.validate()
				step := func(f func()) func(*rapid.T) { return func(*rapid.T) { f() } }
				burst := func(f func()) func(*rapid.T) {
					return func(*rapid.T) {
						for range 8 {
							f()
						}
					}
				}
				rt.Repeat(map[string]func(*rapid.T){
					"create": step(c.create), "change": burst(c.change), "change again": burst(c.change),
					"late": step(c.applyLate), "send": burst(c.send), "crash": step(c.crash), "check": step(func() { checkGroups(rt, c.store) }),
				})
				c.crash()
				c.check()
			})
		})
	}
}
