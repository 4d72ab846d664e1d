package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
)

// own is what differs between two users who do the same: ids the server chose, and
// clocks.
var own = regexp.MustCompile(`"(?:mid|time|last_seen|edited)":(?:"[^"]*"|[0-9]+)`)

// TestABlockedUserLearnsNothing: he does what a friend does at the same time, and
// is answered alike; only the friend is heard.
//
//tidy:long one story in its order
//tidy:long one story in its order
func TestABlockedUserLearnsNothing(t *testing.T) {
	t.Parallel()
	s := newUsers(t, []string{"GODWIT_PRESENCE_DEBOUNCE=500ms"}, nil, "alice", "bob", "enemy", "buddy")
	alice, _ := newLine(t, s, godwit.EncodingJSON, "alice", "phone", godwit.Resume{})
	bob, _ := newLine(t, s, godwit.EncodingProto, "bob", "phone", godwit.Resume{})
	group := pick(t, must(t, bob, `{"group":{"do":"create","name":"All","users":["alice","enemy","buddy"]}}`), "group")
	var pairs [][2]*line
	mids := map[string][2]string{}
	for _, encoding := range []godwit.Encoding{godwit.EncodingJSON, godwit.EncodingProto} {
		var pair [2]*line
		for i, user := range []string{"enemy", "buddy"} {
			pair[i], _ = newLine(t, s, encoding, user, fmt.Sprint("device", encoding), godwit.Resume{})
		}
		pairs = append(pairs, pair)
	}
	for _, who := range pairs[0] {
		var two [2]string
		for i := range two {
			two[i] = pick(t, must(t, who, say("alice", fmt.Sprint("before", i), "before")), "mid")
		}
		mids[who.user] = two
		must(t, who, `{"presence":{"watch":["alice"]}}`)
		alice.until(`"mid":"` + two[1] + `"`)
		must(t, alice, say(who.user, "hello", "hello "+who.user))
		who.until("hello " + who.user)
	}
	heardBefore := len(alice.heard())
	must(t, alice, `{"block":{"add":["enemy"]}}`)

	for _, pair := range pairs {
		for n, request := range []string{
			say("alice", "after", "after"), say("alice", "after", "after"), say("alice", "after", "conflict"),
			`{"typing":{"conv":"alice"}}`, `{"typing":{"conv":"g:` + group + `"}}`, `{"typing":{"conv":"alice","stop":true}}`,
			`{"edit":{"mid":"M1","text":"edited later"}}`, `{"edit":{"mid":"M1","text":"edited later"}}`,
			`{"recall":{"mid":"M2"}}`, `{"edit":{"mid":"M2","text":"too late"}}`,
			`{"mark":{"conv":"alice","read":4}}`, `{"history":{"conv":"alice"}}`, `{"conversation":{"conv":"alice","pin":true}}`,
			say("g:"+group, "all", "to all"), `{"group":{"do":"list"}}`, `{"device":{"do":"logout","device":"phone"}}`,
		} {
			var answers [2]string
			for i, who := range pair {
				if n == 0 { // one of them ahead would have other sequences in the group
					must(t, who, `{"sync":{}}`)
				}
				m := mids[who.user]
				answer := who.ask(strings.NewReplacer("M1", m[0], "M2", m[1]).Replace(request))
				answer = own.ReplaceAllString(strings.ReplaceAll(answer, who.user, "user"), "")
				answers[i] = regexp.MustCompile(`"g?seq":[0-9]+`).ReplaceAllString(answer, "")
			}
			if answers[0] != answers[1] {
				t.Errorf("%s: %s is answered\n%s\nand to one who is not blocked\n%s", pair[0].name(), request, answers[0], answers[1])
			}
		}
		if got := must(t, pair[0], `{"presence":{"get":["alice","nobody"]}}`); strings.Count(got, `"online":false,"last_seen":0`) != 2 {
			t.Errorf("%s sees %s", pair[0].name(), got)
		}
		if got := must(t, pair[1], `{"presence":{"get":["alice"]}}`); !strings.Contains(got, `"online":true`) {
			t.Errorf("%s sees %s", pair[1].name(), got)
		}
	}
	// What alice does is told to the one who is not blocked.
	alice.until(`"typing":{"conv":"u:buddy","user":"buddy"`)
	alice.until(`"typing":{"conv":"g:` + group + `","user":"buddy"`)
	alice.until(`"text":"after"`)
	alice.until(`"recall":`)
	alice.until(`"receipt":{"conv":"u:buddy","user":"buddy"`)
	for _, who := range pairs[0] {
		must(t, alice, `{"mark":{"conv":"`+who.user+`","read":6}}`)
	}
	pairs[0][1].until(`"receipt":{"conv":"u:alice","user":"alice"`)
	for _, who := range pairs[0] { // by the same lane as a receipt would come
		must(t, alice, say(who.user, "bye", "bye "+who.user))
		who.until("bye " + who.user)
	}
	quiet := strings.Join(pairs[0][0].heard(), "\n") + must(t, pairs[0][0], `{"sync":{}}`) + must(t, pairs[0][0], `{"conversations":{}}`)
	for _, word := range []string{`"user":"alice","delivered"`, `"peer_`, `"user":"alice","online":true`} {
		if strings.Contains(quiet, word) {
			t.Errorf("the blocked one learns %s: %s", word, quiet)
		}
	}
	checkHeardOfBlocked(t, alice, alice.heard()[heardBefore:], group)
	bob.until(`"typing":{"conv":"g:` + group + `","user":"enemy"`)
}

// checkHeardOfBlocked: alice hears of buddy what she does not hear of enemy.
func checkHeardOfBlocked(t *testing.T, alice *line, heard []string, group string) {
	t.Helper()
	answers := must(t, alice, `{"sync":{}}`) + must(t, alice, `{"history":{"conv":"enemy"}}`)
	all := strings.Join(heard, "\n")
	for what, of := range map[string]string{
		"a message":          `"conv":"u:%s","from":"%[1]s","cid":"after"`,
		"typing":             `"typing":{"conv":"u:%s","user":"%[1]s"`,
		"typing in a group":  `"typing":{"conv":"g:` + group + `","user":"%s"`,
		"a receipt":          `"receipt":{"conv":"u:%s","user":"%[1]s"`,
		"an edit, or recall": `"conv":"u:%s","from":"%[1]s","time"`,
	} {
		if !strings.Contains(all, fmt.Sprintf(of, "buddy")) {
			t.Errorf("alice does not hear %s of buddy: %s", what, all)
		}
		if text := fmt.Sprintf(of, "enemy"); strings.Contains(all, text) || what != "a receipt" && strings.Contains(answers, text) {
			t.Errorf("alice hears %s of enemy: %s", what, all)
		}
	}
	for _, word := range []string{"edited later", `"cid":"after"`} {
		if history := must(t, alice, `{"history":{"conv":"enemy"}}`); strings.Contains(history, word) {
			t.Errorf("%q is in the history: %s", word, history)
		}
	}
}
