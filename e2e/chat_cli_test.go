package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// users are people at the command line of one server.
type users struct {
	*server
	tokens map[string]string
	flags  []string // of every command
}

func newUsers(t *testing.T, env []string, flags []string, names ...string) *users {
	t.Helper()
	s := newServer(t, "", env...)
	s.start()
	return &users{server: s, tokens: s.tokens(names...), flags: flags}
}

// overBothTransports runs a test with users whose commands use each.
func overBothTransports(t *testing.T, f func(t *testing.T, transport string)) {
	for _, transport := range []string{"websocket", "longpoll"} {
		t.Run(transport, func(t *testing.T) { f(t, transport) })
	}
}

func (u *users) command(user string, args []string) (stdout, stderr string, code int) {
	args = slices.Concat(args, []string{"--json", "--url", u.url(), "--token", u.tokens[user]}, u.flags)
	return u.run("", args...)
}

// as runs a command in a user's name that must be done, and returns its lines.
func (u *users) as(user string, args ...string) []string {
	u.t.Helper()
	out, errs, code := u.command(user, args)
	if code != 0 || errs != "" {
		u.t.Fatalf("%s: godwit %s: exit %d, stdout %q, stderr %q", user, strings.Join(args, " "), code, out, errs)
	}
	if out == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
}

// one runs a command that prints one object.
func (u *users) one(into any, user string, args ...string) {
	u.t.Helper()
	lines := u.as(user, args...)
	if len(lines) != 1 {
		u.t.Fatalf("%s: godwit %s printed %q, want one line", user, strings.Join(args, " "), lines)
	}
	if err := json.Unmarshal([]byte(lines[0]), into); err != nil {
		u.t.Fatalf("%s: godwit %s: %v: %s", user, strings.Join(args, " "), err, lines[0])
	}
}

// refused runs a command that must be refused with a code, on one line.
func (u *users) refused(want, user string, args ...string) {
	u.t.Helper()
	out, errs, code := u.command(user, args)
	var body struct {
		Error struct{ Code, Message string }
	}
	err := json.Unmarshal([]byte(out), &body)
	if code != 1 || errs != "" || err != nil || strings.Count(out, "\n") != 1 || body.Error.Code != want || body.Error.Message == "" {
		u.t.Errorf("%s: godwit %s: exit %d, stdout %q, stderr %q; want %s refused", user, strings.Join(args, " "), code, out, errs, want)
	}
}

// cliEntry is an ev object as tail and history print it.
type cliEntry struct {
	Seq  uint64 `json:"seq"`
	GSeq uint64 `json:"gseq"`
	Msg  *struct {
		MID, Conv, From, Text string
		Edited                int64
		Recalled              bool
	} `json:"msg"`
	Edit    *struct{ MID, From, Text string } `json:"edit"`
	Recall  *struct{ MID, From string }       `json:"recall"`
	Receipt *struct {
		Conv, User      string
		Delivered, Read uint64
		Unread          uint64
	} `json:"receipt"`
	Group *struct {
		Conv, By, Do, Name, Role string
		Users                    []string
		Count                    int
	} `json:"group"`
	Settings *struct {
		Conv         string
		Mute         int64
		Pin, Archive bool
	} `json:"settings"`
	Skip *struct{ From, To uint64 } `json:"skip"`
}

func (u *users) entries(user string, args ...string) (list []cliEntry) {
	u.t.Helper()
	for _, line := range u.as(user, args...) {
		var e cliEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			u.t.Fatalf("%v: %s", err, line)
		}
		list = append(list, e)
	}
	return list
}

// log is a user's whole log.
func (u *users) log(user string) []cliEntry {
	u.t.Helper()
	return u.entries(user, "tail", "--since", "0", "--follow=false")
}

// said are the messages among entries, as "from: text".
func said(list []cliEntry) (all []string) {
	for _, e := range list {
		if e.Msg != nil {
			all = append(all, e.Msg.From+": "+e.Msg.Text)
		}
	}
	return all
}

// createGroup makes a group and returns its id.
func (u *users) createGroup(owner, name string, members ...string) string {
	u.t.Helper()
	var g map[string]string
	u.one(&g, owner, append([]string{"group", "create", name}, members...)...)
	if len(g) != 2 || g["conv"] != "g:"+g["group"] || g["group"] == "" {
		u.t.Fatalf("group create printed %v", g)
	}
	return g["group"]
}

type conversation struct {
	Conv            string
	Unread          uint64
	Read, Delivered uint64
	Last            cliEntry
	PeerRead        uint64 `json:"peer_read"`
	PeerDelivered   uint64 `json:"peer_delivered"`
	Name            string
	Pin, Archive    bool
	Mute            int64
	Channel         bool
}

func (u *users) conversation(user, conv string) (found conversation) {
	u.t.Helper()
	for _, line := range u.as(user, "conversations") {
		var c conversation
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			u.t.Fatalf("%v: %s", err, line)
		}
		if c.Conv == conv {
			return c
		}
	}
	u.t.Fatalf("%s has no conversation %s", user, conv)
	return found
}
