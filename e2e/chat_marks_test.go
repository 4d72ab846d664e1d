package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

func TestMarksFromTheCommandLine(t *testing.T) {
	t.Parallel()
	overBothTransports(t, func(t *testing.T, transport string) {
		u := newUsers(t, nil, []string{"--transport", transport}, "alice", "bob")
		for i := range 5 {
			u.as("alice", "send", "bob", fmt.Sprint(i))
		}
		if c := u.conversation("bob", "u:alice"); c.Unread != 5 || c.Read != 0 || c.Delivered != 0 {
			t.Fatalf("before: %+v", c)
		}
		var done struct{ Seq uint64 }
		u.one(&done, "bob", "mark", "alice", "--delivered", "5")
		if done.Seq == 0 {
			t.Errorf("the mark has no place in bob's log")
		}
		u.as("bob", "mark", "alice", "--read", "3")
		u.as("bob", "mark", "alice", "--read", "1") // behind: changes nothing
		if c := u.conversation("bob", "u:alice"); c.Unread != 2 || c.Read != 3 || c.Delivered != 5 {
			t.Errorf("bob's side: %+v", c)
		}
		until(t, "alice sees it", func() bool {
			c := u.conversation("alice", "u:bob")
			return c.PeerRead == 3 && c.PeerDelivered == 5 && c.Unread == 0
		})
		last := u.log("alice")
		if e := last[len(last)-1]; e.Receipt == nil || e.Receipt.User != "bob" || e.Receipt.Read != 3 || e.Receipt.Delivered != 5 {
			t.Errorf("alice's log ends in %+v", e)
		}
		u.refused("conversation.not_member", "bob", "mark", "nobody", "--read", "1")
		u.as("alice", "send", "bob", "6")
		if c := u.conversation("bob", "u:alice"); c.Unread != 3 {
			t.Errorf("after one more: %+v", c)
		}
	})
}

func TestGroupMarksAreCountedOnRequest(t *testing.T) {
	u := newUsers(t, nil, nil, "alice", "bob", "carol")
	group := u.createGroup("alice", "Chess", "bob", "carol")
	u.as("alice", "send", "g:"+group, "one")
	u.as("alice", "send", "g:"+group, "two")
	u.as("bob", "mark", "g:"+group, "--read", "3")
	u.as("carol", "mark", "g:"+group, "--read", "2", "--delivered", "3")
	count := func(gseq string) (r struct{ Delivered, Read int }) {
		u.one(&r, "alice", "group", "receipts", group, gseq)
		return r
	}
	until(t, "the group has both marks", func() bool { return count("3").Delivered >= 2 && count("2").Read >= 2 })
	if r := count("3"); r.Read != 1 && r.Read != 2 { // alice's own messages may count as read by her
		t.Errorf("receipts of 3: %+v", r)
	}
	if c := u.conversation("carol", "g:"+group); c.Unread != 1 || c.Read != 2 {
		t.Errorf("carol: %+v", c)
	}
	hearsMarks(t, u, group)
}

// hearsMarks: in a small group alice is told at once, and the group agrees.
func hearsMarks(t *testing.T, u *users, group string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	u.as("bob", "send", "alice", "so that bob's sequences are not the group's")
	receipts := make(chan godwit.Receipt, 64)
	cfg := sdkConfig(u.url(), u.tokens["alice"], client.JSON)
	cfg.OnReceipt = func(r godwit.Receipt) { receipts <- r }
	alice := dialSDK(ctx, t, cfg)
	var heard, read godwit.Receipt
	until(t, "alice hears that bob has read", func() bool { // again and again: a whisper may be lost
		var sent struct{ Seq, GSeq godwit.Seq }
		u.one(&sent, "bob", "send", "g:"+group, "three")
		u.as("bob", "mark", "g:"+group, "--read", fmt.Sprint(sent.Seq))
		read = godwit.Receipt{Conv: godwit.ConversationID("g:" + group), User: "bob", Delivered: sent.GSeq, Read: sent.GSeq}
		for {
			select {
			case heard = <-receipts:
				if heard.User == "carol" && heard.Read == 2 {
					continue // what she marked before, told late
				}
				if heard.User != "bob" || heard.Read >= sent.Seq {
					t.Fatalf("heard %+v, want %+v", heard, read)
				}
			default:
				return heard == read
			}
		}
	})
	for m, err := range alice.Members(ctx, group) {
		if err != nil || m.User == "bob" && m.Read != heard.Read {
			t.Errorf("the group has %+v, %v; heard %+v", m, err, heard)
		}
	}
}

func TestEditAndRecallFromTheCommandLine(t *testing.T) {
	overBothTransports(t, func(t *testing.T, transport string) {
		u := newUsers(t, nil, []string{"--transport", transport}, "alice", "bob", "mallory")
		group := u.createGroup("alice", "Chess", "bob")
		for _, conv := range []string{"bob", "g:" + group} {
			theirs := "u:alice"
			if conv != "bob" {
				theirs = conv
			}
			var sent struct{ MID string }
			u.one(&sent, "alice", "send", conv, "helo")
			u.as("alice", "edit", sent.MID, "hello")
			u.refused("message.not_found", "bob", "edit", sent.MID, "mine now")
			u.refused("message.not_found", "mallory", "edit", sent.MID, "mine now")
			u.refused("message.not_found", "mallory", "recall", sent.MID)
			shown := func(user, conv string) (msg, last cliEntry) {
				list := u.entries(user, "history", conv)
				i := slices.IndexFunc(list, func(e cliEntry) bool { return e.Msg != nil && e.Msg.MID == sent.MID })
				if i < 0 {
					t.Fatalf("%s has no message in %+v", user, list)
				}
				return list[i], list[len(list)-1]
			}
			until(t, "bob sees the edit", func() bool {
				msg, _ := shown("bob", theirs)
				return msg.Msg.Text == "hello" && msg.Msg.Edited > 0
			})
			if msg, last := shown("alice", conv); msg.Msg.Text != "hello" || last.Edit == nil || last.Edit.Text != "hello" {
				t.Errorf("%s: alice sees %+v and %+v", conv, msg.Msg, last)
			}
			u.as("alice", "recall", sent.MID)
			u.as("alice", "recall", sent.MID) // done already
			until(t, "bob sees the recall", func() bool {
				msg, last := shown("bob", theirs)
				return msg.Msg.Recalled && msg.Msg.Text == "" && last.Recall != nil
			})
		}
		u.refused("message.not_found", "alice", "edit", "AQIDBAUGBwgJCgsMDQ4PEA", "x")
		u.refused("message.not_found", "alice", "recall", "AQIDBAUGBwgJCgsMDQ4PEA")
	})
}

func TestConversationSettingsFromTheCommandLine(t *testing.T) {
	u := newUsers(t, nil, nil, "alice", "bob")
	u.as("alice", "send", "bob", "one")
	u.as("alice", "send", "bob", "two")
	u.as("bob", "conversation", "alice", "--pin", "--mute", "1h", "--archive")
	c := u.conversation("bob", "u:alice")
	if now := time.Now(); !c.Pin || !c.Archive || c.Mute < now.UnixMilli() || c.Mute > now.Add(2*time.Hour).UnixMilli() {
		t.Errorf("%+v", c)
	}
	u.as("bob", "conversation", "alice", "--pin=false", "--mute", "0")
	if c := u.conversation("bob", "u:alice"); c.Pin || !c.Archive || c.Mute != 0 || c.Unread != 2 {
		t.Errorf("%+v", c)
	}
	u.as("bob", "conversation", "alice", "--delete", "1")
	if got := said(u.entries("bob", "history", "alice")); !slices.Equal(got, []string{"alice: two"}) {
		t.Errorf("after the delete bob reads %q", got)
	}
	if c := u.conversation("bob", "u:alice"); c.Unread != 1 {
		t.Errorf("after the delete: %+v", c)
	}
	if got := said(u.entries("alice", "history", "bob")); len(got) != 2 {
		t.Errorf("alice lost something: %q", got)
	}
	list := u.log("bob")
	if !slices.ContainsFunc(list, func(e cliEntry) bool { return e.Settings != nil && e.Settings.Archive }) {
		t.Errorf("bob's other devices are not told: %+v", list)
	}
}

func TestBlockAndContactsFromTheCommandLine(t *testing.T) {
	overBothTransports(t, func(t *testing.T, transport string) {
		u := newUsers(t, nil, []string{"--transport", transport}, "alice", "bob", "mallory")
		people := func(user string, args ...string) []string {
			t.Helper()
			var list struct{ Users []string }
			u.one(&list, user, args...)
			if list.Users == nil {
				t.Errorf("%v printed no list", args)
			}
			return list.Users
		}
		if got := people("alice", "block", "mallory"); !slices.Equal(got, []string{"mallory"}) {
			t.Errorf("block: %q", got)
		}
		u.as("mallory", "send", "alice", "unheard") // and is not told
		u.as("bob", "send", "alice", "heard")
		if got := said(u.log("alice")); !slices.Equal(got, []string{"bob: heard"}) {
			t.Errorf("alice hears %q", got)
		}
		if got := people("alice", "block", "--list"); len(got) != 1 {
			t.Errorf("list: %q", got)
		}
		if got := people("alice", "unblock", "mallory"); len(got) != 0 {
			t.Errorf("unblock: %q", got)
		}
		u.as("mallory", "send", "alice", "heard again")
		until(t, "alice hears it", func() bool { return slices.Contains(said(u.log("alice")), "mallory: heard again") })
		people("alice", "contact", "add", "bob", "carol")
		people("alice", "contact", "remove", "carol")
		if got := people("alice", "contact", "list"); !slices.Equal(got, []string{"bob"}) {
			t.Errorf("contacts: %q", got)
		}
	})
}
