package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// names are n users in JSON.
func names(n int, prefix string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%s%d"`, prefix, i)
	}
	return b.String()[1:]
}

// forged are frames with fields that are wrong, and what each is answered with; G
// is a group of the asker, M a message of his own.
var forged = []struct{ request, want string }{
	{`{"send":{"to":"bob","cid":"f1","text":"x","from":"alice","seq":9,"mid":"M","time":1}}`, "message.too_old"},
	{`{"send":{"to":"bob","cid":"f2","text":"x","from":"alice","by":"alice","admin":true,"operator":true}}`, "done"}, // unknown fields are ignored
	{`{"send":{"to":"bob","group":"G","cid":"f3","text":"x"}}`, "frame.invalid"},
	{`{"send":{"to":"bob","cid":"f4","text":"x","data":""}}`, "body.invalid"},
	{`{"send":{"to":"u:","cid":"f5","text":"x"}}`, "conversation.invalid"},
	{`{"send":{"to":"bob","cid":"` + strings.Repeat("c", 65) + `","text":"x"}}`, "cid.invalid"},
	{`{"send":{"to":"bob","cid":"f6","text":"x","type":"` + strings.Repeat("t", 65) + `"}}`, "body.invalid"},
	{`{"send":{"to":"bob","cid":"f7","text":7}}`, "frame.malformed"},
	{`{"send":{"to":["bob"],"cid":"f8","text":"x"}}`, "frame.malformed"},
	{`{"history":{"conv":"u:bob","before":-1}}`, "frame.invalid"},
	{`{"history":{"conv":"u:bob","before":9007199254740992}}`, "frame.invalid"},
	{`{"history":{"conv":"u:bob","before":18446744073709551616}}`, "frame.invalid"},
	{`{"history":{"conv":"u:bob","before":1.5}}`, "frame.invalid"},
	{`{"history":{"conv":"u:bob","before":"1"}}`, "frame.malformed"},
	{`{"history":{"conv":"u:bob","before":9007199254740991,"limit":4294967295}}`, "done"},
	{`{"history":{"conv":"u:bob","limit":4294967296}}`, "frame.invalid"},
	{`{"history":{"conv":"u:bob","before":3,"after":1}}`, "frame.invalid"},
	{`{"history":{"conv":"u:bob","gbefore":3}}`, "frame.invalid"},
	{`{"history":{"conv":"g:G","gbefore":3,"gafter":1}}`, "frame.invalid"},
	{`{"history":{"conv":"g:G","gafter":9007199254740991}}`, "done"},
	{`{"history":{"conv":""}}`, "conversation.invalid"},
	{`{"history":{"conv":"x:bob"}}`, "conversation.invalid"},
	{`{"history":{"conv":"g:` + strings.Repeat("g", 65) + `"}}`, "conversation.invalid"},
	{`{"sync":{"since":900000}}`, "cursor.invalid"},
	{`{"sync":{"from":5,"to":2}}`, "frame.invalid"},
	{`{"sync":{"from":0,"to":2}}`, "frame.invalid"},
	{`{"conversations":{"next":"AAAA"}}`, "cursor.invalid"},
	{`{"conversations":{"next":"not base64 ???"}}`, "cursor.invalid"},
	{`{"mark":{"conv":"u:bob","read":900000}}`, "cursor.invalid"},
	{`{"mark":{"conv":"u:bob"}}`, "frame.invalid"},
	{`{"mark":{"conv":"g:","read":1}}`, "conversation.invalid"},
	{`{"mark":{"read":1}}`, "conversation.invalid"},
	{`{"conversation":{"conv":"u:bob","delete":900000}}`, "cursor.invalid"},
	{`{"conversation":{"conv":"u:bob"}}`, "frame.invalid"},
	{`{"conversation":{"conv":"u:bob","pin":1}}`, "frame.malformed"},
	{`{"conversation":{"conv":"u:bob","mute":9007199254740992}}`, "frame.invalid"},
	{`{"conversation":{"conv":"u:bob","mute":-1}}`, "frame.invalid"},
	{`{"conversation":{"conv":"u:nobody","pin":true}}`, "conversation.not_member"},
	{`{"edit":{"mid":"M"}}`, "body.invalid"},
	{`{"edit":{"mid":"M","text":"a","data":"YQ=="}}`, "body.invalid"},
	{`{"edit":{"mid":"M","text":"` + strings.Repeat("a", 16385) + `"}}`, "body.too_large"},
	{`{"edit":{"mid":"","text":"a"}}`, "message.not_found"},
	{`{"edit":{"mid":"M0","text":"a"}}`, "message.not_found"},
	{`{"edit":{"mid":"AAAAAAAAAAAAAAAAAAAAAA","text":"a"}}`, "message.not_found"},
	{`{"recall":{"mid":"AAAAAAAAAAAAAAAAAAAAA"}}`, "message.not_found"},
	{`{"recall":{"mid":"/////////////////////w"}}`, "message.not_found"},
	{`{"recall":{}}`, "message.not_found"},
	{`{"typing":{"conv":"?"}}`, "conversation.invalid"},
	{`{"presence":{"get":[]}}`, "frame.invalid"},
	{`{"presence":{"get":["` + strings.Repeat("b", 65) + `"]}}`, "user.invalid"},
	{`{"presence":{"get":[""]}}`, "user.invalid"},
	{`{"presence":{"get":[` + names(101, "p") + `]}}`, "frame.invalid"},
	{`{"presence":{"watch":[` + names(501, "p") + `]}}`, "frame.invalid"},
	{`{"block":{"add":["ME"]}}`, "user.invalid"},
	{`{"block":{"add":[""]}}`, "user.invalid"},
	{`{"contact":{"add":[` + names(1001, "p") + `]}}`, "frame.invalid"},
	{`{"device":{}}`, "frame.invalid"},
	{`{"device":{"do":"logout"}}`, "frame.invalid"},
	{`{"device":{"do":"explode","all":true}}`, "frame.invalid"},
	{`{"group":{}}`, "frame.invalid"},
	{`{"group":{"do":"explode","group":"G"}}`, "frame.invalid"},
	{`{"group":{"do":"info"}}`, "conversation.invalid"},
	{`{"group":{"do":"info","group":"u:bob"}}`, "conversation.invalid"},
	{`{"group":{"do":"members","group":"G","next":"AAAA"}}`, "cursor.invalid"},
	{`{"group":{"do":"members","group":"G","next":"%%%"}}`, "cursor.invalid"},
	{`{"group":{"do":"members","group":"G","limit":4294967295}}`, "done"},
	{`{"group":{"do":"list","next":"AAAA"}}`, "cursor.invalid"},
	{`{"group":{"do":"receipts","group":"G"}}`, "frame.invalid"},
	{`{"group":{"do":"receipts","group":"G","gseq":900000}}`, "conversation.not_member"},
	{`{"group":{"do":"create","name":"` + strings.Repeat("n", 257) + `"}}`, "frame.invalid"},
	{`{"group":{"do":"create","name":"x","join":"everyone"}}`, "frame.invalid"},
	{`{"group":{"do":"create","name":"x","history":"some"}}`, "frame.invalid"},
	{`{"group":{"do":"create","name":"x","users":["a b"]}}`, "user.invalid"},
	{`{"group":{"do":"create","name":"x","cid":"a b"}}`, "cid.invalid"},
	{`{"group":{"do":"create","name":"x","role":"owner","by":"alice","creator":"alice","users":["bob","bob","ME"]}}`, "done"},
	{`{"group":{"do":"create","name":"x","users":[` + names(1001, "p") + `]}}`, "done"},
	{`{"group":{"do":"create","name":"x","users":[` + names(1025, "p") + `]}}`, "frame.invalid"},
	{`{"group":{"do":"set","group":"G"}}`, "frame.invalid"},
	{`{"group":{"do":"add","group":"G"}}`, "frame.invalid"},
	{`{"group":{"do":"add","group":"G","users":[]}}`, "frame.invalid"},
	{`{"group":{"do":"add","group":"G","users":["bob","bob","bob"]}}`, "done"},
	{`{"group":{"do":"add","group":"G","users":["` + strings.Repeat("b", 65) + `"]}}`, "user.invalid"},
	{`{"group":{"do":"remove","group":"G","users":["ME"]}}`, "group.forbidden"},
	{`{"group":{"do":"role","group":"G","users":["bob"],"role":"god"}}`, "frame.invalid"},
	{`{"group":{"do":"role","group":"G","users":["bob"]}}`, "frame.invalid"},
	{`{"group":{"do":"role","group":"G","users":["bob","carol"],"role":"owner"}}`, "frame.invalid"},
	{`{"group":{"do":"role","group":"G","users":["nobody"],"role":"owner"}}`, "conversation.not_member"},
	{`{"group":{"do":"leave","group":"G"}}`, "group.forbidden"},
	{`{"done":{"seq":1}}`, "frame.unknown"},
	{`{"ev":{"seq":1}}`, "frame.unknown"},
	{`{"send":{"to":"bob","cid":"f9","text":"x"},"recall":{"mid":"M"}}`, "frame.invalid"},
}

// TestForgedFieldsAreAnsweredByTheirError, alike over every transport, and change
// nothing.
func TestForgedFieldsAreAnsweredByTheirError(t *testing.T) {
	t.Parallel()
	s := newUsers(t, nil, nil, "alice", "bob", "mallory1", "mallory2", "mallory3")
	for _, who := range speakers(t, s, "mallory1", "mallory2", "mallory3") {
		created := must(t, who, `{"group":{"do":"create","name":"Mine","users":["bob","carol"]}}`)
		mid := pick(t, must(t, who, say("bob", "own", "as it was")), "mid")
		fill := strings.NewReplacer("G", pick(t, created, "group"), "ME", who.who(), "M", mid)
		for _, f := range forged {
			if _, live := who.(*line); live && f.want == "frame.malformed" {
				continue // a WebSocket ends with that: TestEachBrokenFrameGetsItsCloseCode
			}
			answer := who.ask(fill.Replace(f.request))
			if got := codeOf(answer); answer != "" && got != f.want {
				t.Errorf("%s: %.200s is answered %.300s, want %s", who.name(), f.request, answer, f.want)
			}
		}
		if info := must(t, who, fill.Replace(`{"group":{"do":"info","group":"G"}}`)); !strings.Contains(info, `"role":"owner"`) || !strings.Contains(info, `"count":3`) || !strings.Contains(info, `"name":"Mine"`) {
			t.Errorf("the group is now %s", info)
		}
		if history := must(t, who, `{"history":{"conv":"u:bob"}}`); !strings.Contains(history, "as it was") || strings.Contains(history, `"from":"alice"`) {
			t.Errorf("the conversation is now %s", history)
		}
	}
}
