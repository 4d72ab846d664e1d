package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// TestWhoWasRemovedLearnsNothingMore: of a group and of a channel, by connections
// that were open, by places of before, and by whatever he asks. All that was said
// and done after it holds the word secret.
func TestWhoWasRemovedLearnsNothingMore(t *testing.T) {
	t.Parallel()
	s := newUsers(t, []string{"GODWIT_POLICY_CHANNEL_ABOVE=3"}, nil, "alice", "bob", "gone")
	for kind, users := range map[string]string{"group": `"bob","gone"`, "channel": `"bob","carol","gone"`} {
		for _, history := range []string{"joined", "all"} {
			t.Run(kind+" "+history, func(t *testing.T) { testRemoved(t, s, users, history, kind == "channel") })
		}
	}
}

//tidy:long one story in its order
//tidy:long one story in its order
func testRemoved(t *testing.T, s *users, users, history string, channel bool) {
	alice, _ := newLine(t, s, godwit.EncodingJSON, "alice", "phone", godwit.Resume{})
	bob, _ := newLine(t, s, godwit.EncodingProto, "bob", "phone", godwit.Resume{})
	created := must(t, alice, `{"group":{"do":"create","name":"Chess","history":"`+history+`","users":[`+users+`]}}`)
	group, conv := pick(t, created, "group"), pick(t, created, "conv")
	var mids []string
	for i, text := range []string{"first", "second", "third"} {
		mids = append(mids, pick(t, must(t, alice, say(conv, fmt.Sprint(group, "c", i), text)), "mid"))
	}
	gone := speakers(t, s, "gone", "gone", "gone")
	json, proto, poll := gone[0].(*line), gone[1].(*line), gone[2].(*post)
	own := pick(t, must(t, json, say(conv, group, "my own, fourth")), "mid")
	for _, who := range []*line{json, proto, bob} {
		who.until("fourth")
	}
	poll.listen()
	const seen, presence = `"online":true`, `{"presence":{"get":["alice"],"watch":["alice"]}}`
	if answer := must(t, json, presence); strings.Contains(answer, seen) == channel {
		t.Errorf("a member of a group, channel %t, sees %s", channel, answer)
	}
	resume := godwit.Resume{Set: true, Channels: []godwit.ChannelPlace{{Conv: []byte(conv), GSeq: 1}}}

	must(t, alice, `{"group":{"do":"remove","group":"`+group+`","users":["gone"]}}`)
	must(t, alice, `{"edit":{"mid":"`+mids[0]+`","text":"secret edit"}}`)
	must(t, alice, `{"recall":{"mid":"`+mids[1]+`"}}`)
	must(t, alice, `{"group":{"do":"set","group":"`+group+`","name":"Secret name"}}`)
	must(t, alice, `{"group":{"do":"add","group":"`+group+`","users":["secretuser"]}}`)
	secret := pick(t, must(t, alice, say(conv, group+"s", "secret text")), "mid")
	must(t, alice, `{"edit":{"mid":"`+secret+`","text":"secret text, edited"}}`)
	bob.until("secret text, edited")

	var told []string
	for _, who := range gone {
		f := func(request string) string {
			t.Helper()
			answer := who.ask(request)
			told = append(told, answer)
			return answer
		}
		for _, request := range groupRequests {
			for _, mid := range []string{mids[0], secret, own} {
				replace := func(group, mid string) *strings.Replacer {
					return strings.NewReplacer("G", group, "ME", "gone", "M", mid, "AP8=", "AP8=")
				}
				answer := alike(t, who, request, replace(group, mid), replace("g2222222222", "AQIDBAUGBwgJCgsMDQ4PEA"), strings.NewReplacer(group, "g2222222222"))
				if code := codeOf(answer); code != "conversation.not_member" && code != "message.not_found" {
					t.Errorf("%s: %s is answered %s", who.name(), request, answer)
				}
				told = append(told, answer)
			}
		}
		for _, request := range []string{
			`{"history":{"conv":"C"}}`, `{"history":{"conv":"C","after":0}}`, `{"history":{"conv":"C","gafter":0}}`,
			`{"history":{"conv":"C","gbefore":9007199254740991}}`, `{"history":{"conv":"C","before":9007199254740991}}`,
		} {
			if answer := f(strings.ReplaceAll(request, "C", conv)); !strings.Contains(answer, `"text":"third"`) {
				t.Errorf("%s: %s of what was his is answered %s", who.name(), request, answer)
			}
		}
		for _, request := range []string{
			`{"sync":{}}`, `{"conversations":{}}`, `{"group":{"do":"list"}}`, `{"typing":{"conv":"C"}}`,
			`{"history":{"conv":"C","gafter":6}}`, `{"conversation":{"conv":"C","pin":true}}`, `{"device":{"do":"list"}}`,
		} {
			f(strings.ReplaceAll(request, "C", conv))
		}
	}
	if answer := must(t, proto, presence); strings.Contains(answer, seen) {
		t.Errorf("who was removed sees %s", answer)
	}
	told = append(told, json.ask(`{"mark":{"conv":"`+conv+`","read":3}}`))
	// What he had is there again for one who comes back with an old place, and no more.
	for _, encoding := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		back, _ := newLine(t, s, encoding, "gone", fmt.Sprint("back", encoding), resume)
		back.until(`"do":"remove"`)
		gone = append(gone, back)
	}
	poll.listen()
	must(t, alice, say(conv, group+"t", "secret at last"))
	bob.until("secret at last")
	for _, who := range gone {
		must(t, who, `{"sync":{}}`)
		told = append(told, who.heard()...)
	}
	for _, answer := range told {
		if strings.Contains(strings.ToLower(answer), "secret") {
			t.Errorf("gone learns %.600s", answer)
		}
	}
	for _, answer := range bob.heard() {
		if strings.Contains(answer, `"typing"`) {
			t.Errorf("bob hears %s", answer)
		}
	}
	if heard := strings.Join(json.heard(), "\n"); !strings.Contains(heard, `"do":"remove"`) {
		t.Errorf("he is not told of the removal: %s", heard)
	}
}
