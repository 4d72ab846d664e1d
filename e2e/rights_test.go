package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
)

// speaker is a user on one connection whose every word is a JSON frame, whatever
// the transport and encoding under it.
type speaker interface {
	// ask makes a request and returns its answer without the id; "" if the transport
	// can't carry such a frame.
	ask(request string) string
	// heard are the frames that came unasked.
	heard() []string
	name() string
	who() string
}

// line is a speaker on a WebSocket.
type line struct {
	*wire
	user string
	mu   sync.Mutex
	said []string
}

func newLine(t testing.TB, s *users, encoding godwit.Encoding, user, device string, resume godwit.Resume) (*line, godwit.ConnectReply) {
	t.Helper()
	w, reply := connectWire(t, s.url(), encoding, s.tokens[user], device, resume)
	return &line{wire: w, user: user}, reply
}

func (l *line) who() string { return l.user }

func (l *line) name() string { return l.user + " by " + l.encoding.Subprotocol() }

// hear notes a frame; ok is false when the connection has ended.
func (l *line) hear(late <-chan time.Time) (f godwit.ServerFrame, ok bool) {
	l.t.Helper()
	select {
	case f, ok = <-l.frames:
	case <-late:
		l.t.Fatalf("%s: waited in vain; heard %q", l.name(), l.said)
	}
	if ok && f.ID == 0 && f.Kind != godwit.KindPing {
		l.mu.Lock()
		l.said = append(l.said, jsonOf(&f))
		l.mu.Unlock()
	}
	return f, ok
}

func (l *line) ask(request string) string {
	l.t.Helper()
	l.nextID++
	frame := fmt.Sprintf(`{"id":%d,`, l.nextID) + request[1:]
	var f godwit.ClientFrame
	switch err := f.Parse(godwit.EncodingJSON, []byte(frame)); {
	case err == nil:
		l.writeFrame(&f)
	case l.encoding.Text():
		l.write(1, []byte(frame))
	default:
		return ""
	}
	late := time.After(patience)
	for {
		f, ok := l.hear(late)
		if !ok {
			l.t.Fatalf("%s: the connection ended at %s", l.name(), request)
		}
		if f.ID == l.nextID {
			return jsonOf(&f)
		}
	}
}

// until waits for a frame that holds a text; it may have come already.
func (l *line) until(text string) {
	l.t.Helper()
	for late := time.After(patience); !strings.Contains(strings.Join(l.heard(), "\n"), text); {
		if _, ok := l.hear(late); !ok {
			l.t.Fatalf("%s: the connection ended before %q", l.name(), text)
		}
	}
}

func (l *line) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said
}

func jsonOf(f *godwit.ServerFrame) string {
	f.ID = 0
	return strings.TrimSpace(string(f.AppendTo(nil, godwit.EncodingJSON)))
}

// post is a speaker that calls and polls.
type post struct {
	*poller
	t    testing.TB
	user string
	said []string
}

func newPost(t testing.TB, s *users, user, device string) *post {
	t.Helper()
	return &post{t: t, user: user, poller: &poller{base: "http://" + s.listen, token: s.tokens[user], device: device}}
}

func (p *post) who() string { return p.user }

func (p *post) name() string { return p.user + " by rpc" }

func (p *post) ask(request string) string {
	p.t.Helper()
	status, answer, err := p.request(p.t.Context(), http.MethodPost, "/v1/rpc?device="+p.device, []byte(`{"id":1,`+request[1:]))
	if err != nil || status == 0 {
		p.t.Fatalf("%s: %s: %v", p.name(), request, err)
	}
	return strings.Replace(strings.TrimSpace(string(answer)), `"id":1,`, "", 1)
}

// listen polls once and notes what it gets.
func (p *post) listen() {
	p.t.Helper()
	frames, ok := p.next(p.t.Context(), p.t, 0)
	if !ok {
		p.t.Fatalf("%s: the poll broke off", p.name())
	}
	for i := range frames {
		p.said = append(p.said, jsonOf(&frames[i]))
	}
}

func (p *post) heard() []string { return p.said }

// must makes a request that is done.
func must(t testing.TB, who speaker, request string) string {
	t.Helper()
	answer := who.ask(request)
	if strings.Contains(answer, `"error":`) || answer == "" {
		t.Fatalf("%s: %s is answered %s", who.name(), request, answer)
	}
	return answer
}

// pick takes a string out of an answer by its name.
func pick(t testing.TB, answer, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(answer, `"`+name+`":"`)
	value, _, end := strings.Cut(rest, `"`)
	if !found || !end {
		t.Fatalf("no %s in %s", name, answer)
	}
	return value
}

func codeOf(answer string) string {
	_, rest, found := strings.Cut(answer, `"error":{"code":"`)
	code, _, _ := strings.Cut(rest, `"`)
	if !found {
		return "done"
	}
	return code
}

// say is a send of a text.
func say(to, cid, text string) string {
	field := "to"
	if group, ok := strings.CutPrefix(to, "g:"); ok {
		field, to = "group", group
	}
	return fmt.Sprintf(`{"send":{"%s":"%s","cid":"%s","text":"%s"}}`, field, to, cid, text)
}

// speakers are three users, or one, on each transport and encoding.
func speakers(t testing.TB, s *users, a, b, c string) []speaker {
	t.Helper()
	json, _ := newLine(t, s, godwit.EncodingJSON, a, "json", godwit.Resume{})
	proto, _ := newLine(t, s, godwit.EncodingProto, b, "proto", godwit.Resume{})
	poll := newPost(t, s, c, "poll")
	poll.listen()
	return []speaker{json, proto, poll}
}

// groupRequests are all that can be asked of a group G, and of messages in it, M.
// None of them is done for one who is no member.
var groupRequests = []string{
	`{"send":{"group":"G","cid":"c1","text":"x"}}`,
	`{"group":{"do":"info","group":"G"}}`,
	`{"group":{"do":"info","group":"g:G"}}`,
	`{"group":{"do":"members","group":"G"}}`,
	`{"group":{"do":"members","group":"G","limit":1}}`,
	`{"group":{"do":"receipts","group":"G","gseq":1}}`,
	`{"group":{"do":"receipts","group":"G","gseq":900000}}`,
	`{"group":{"do":"set","group":"G","name":"mine"}}`,
	`{"group":{"do":"set","group":"G","join":"open","history":"all"}}`,
	`{"group":{"do":"add","group":"G","users":["ME"]}}`,
	`{"group":{"do":"add","group":"G","users":["alice","nobody"]}}`,
	`{"group":{"do":"remove","group":"G","users":["alice"]}}`,
	`{"group":{"do":"remove","group":"G","users":["nobody"]}}`,
	`{"group":{"do":"role","group":"G","users":["ME"],"role":"owner"}}`,
	`{"group":{"do":"role","group":"G","users":["alice"],"role":"member"}}`,
	`{"group":{"do":"leave","group":"G"}}`,
	`{"group":{"do":"join","group":"G"}}`,
	`{"edit":{"mid":"M","text":"forged"}}`,
	`{"edit":{"mid":"M","data":"AP8="}}`,
	`{"recall":{"mid":"M"}}`,
}

// strangerRequests are what is asked besides by one who never had anything to do
// with group G or user U.
var strangerRequests = []string{
	`{"mark":{"conv":"g:G","read":1}}`,
	`{"typing":{"conv":"g:G"}}`,
	`{"history":{"conv":"g:G"}}`,
	`{"history":{"conv":"g:G","before":5}}`,
	`{"history":{"conv":"g:G","after":0}}`,
	`{"history":{"conv":"g:G","gbefore":100}}`,
	`{"history":{"conv":"g:G","gafter":0}}`,
	`{"conversation":{"conv":"g:G","pin":true}}`,
	`{"conversation":{"conv":"g:G","delete":1}}`,
	`{"history":{"conv":"u:U"}}`,
	`{"history":{"conv":"u:U","after":0}}`,
	`{"mark":{"conv":"u:U","read":1}}`,
	`{"typing":{"conv":"u:U"}}`,
	`{"conversation":{"conv":"u:U","mute":1,"archive":true}}`,
	`{"presence":{"get":["U"]}}`,
	`{"presence":{"get":["U"],"watch":["U"]}}`,
	`{"device":{"do":"logout","device":"U-phone"}}`,
	`{"device":{"do":"list"}}`,
	`{"contact":{"add":["U"]}}` + "\n" + `{"contact":{"remove":["U"]}}`,
	`{"block":{"add":["U"]}}` + "\n" + `{"block":{"remove":["U"]}}`,
	`{"group":{"do":"list"}}`,
	`{"conversations":{}}`,
}

// alike asks the same of what exists and of what does not, and wants the same
// bytes but for the names. A request may have others on further lines.
func alike(t *testing.T, who speaker, request string, real, none *strings.Replacer, unreal *strings.Replacer) (answer string) {
	t.Helper()
	var is, isNot string
	for one := range strings.Lines(real.Replace(request)) {
		is += who.ask(strings.TrimSpace(one))
	}
	for one := range strings.Lines(none.Replace(request)) {
		isNot += who.ask(strings.TrimSpace(one))
	}
	is, isNot = changing.ReplaceAllString(unreal.Replace(is), "$1"), changing.ReplaceAllString(isNot, "$1")
	if is != isNot {
		t.Errorf("%s: %s is answered\n%s\nand of what does not exist\n%s", who.name(), request, is, isNot)
	}
	return is
}

// changing is what may differ between two answers: a clock.
var changing = regexp.MustCompile(`("(?:time|seen|since)":)[0-9]+`)

// TestStrangersCantTellWhatExists: groups, channels, messages, users and their
// devices, by any command.
func TestStrangersCantTellWhatExists(t *testing.T) {
	t.Parallel()
	s := newUsers(t, []string{"GODWIT_POLICY_CHANNEL_ABOVE=3"}, nil, "alice", "bob", "mallory1", "mallory2", "mallory3")
	alice, _ := newLine(t, s, godwit.EncodingJSON, "alice", "alice-phone", godwit.Resume{})
	direct := pick(t, must(t, alice, say("bob", "c0", "for bob")), "mid")
	for kind, users := range map[string]string{"group": `"bob"`, "channel": `"bob","carol","dave"`} {
		created := must(t, alice, `{"group":{"do":"create","name":"Hidden","users":[`+users+`]}}`)
		group := pick(t, created, "group")
		mid := pick(t, must(t, alice, say("g:"+group, "c1", "for members")), "mid")
		real := strings.NewReplacer("G", group, "M", mid)
		if info := must(t, alice, real.Replace(`{"group":{"do":"info","group":"G"}}`)); strings.Contains(info, `"channel":true`) != (kind == "channel") {
			t.Fatalf("%s: %s", kind, info)
		}
		for _, who := range speakers(t, s, "mallory1", "mallory2", "mallory3") {
			f := func(request, mid string) string {
				t.Helper()
				replace := func(group, user, mid string) *strings.Replacer {
					return strings.NewReplacer("G", group, "U", user, "M", mid, "ME", who.who(), "AP8=", "AP8=")
				}
				return alike(t, who, request, replace(group, "alice", mid), replace("g2222222222", "nobody", "AQIDBAUGBwgJCgsMDQ4PEA"),
					strings.NewReplacer(group, "g2222222222", "alice", "nobody", mid, "AQIDBAUGBwgJCgsMDQ4PEA"))
			}
			for _, request := range groupRequests {
				answer := f(request, mid)
				want := "conversation.not_member"
				if strings.Contains(request, `"mid"`) {
					want = "message.not_found"
					f(request, direct)
				}
				if got := codeOf(answer); got != want {
					t.Errorf("%s: %s: %s is answered %s, want %s", kind, who.name(), request, answer, want)
				}
			}
			for _, request := range strangerRequests {
				f(request, mid)
			}
		}
	}
	// The recipient of a message may not change it either, and says nothing by trying.
	for _, who := range speakers(t, s, "bob", "bob", "bob") {
		for _, request := range []string{`{"edit":{"mid":"M","text":"forged"}}`, `{"recall":{"mid":"M"}}`} {
			real, none := strings.NewReplacer("M", direct), strings.NewReplacer("M", "AQIDBAUGBwgJCgsMDQ4PEA")
			if answer := alike(t, who, request, real, none, none); codeOf(answer) != "message.not_found" {
				t.Errorf("%s: %s is answered %s", who.name(), request, answer)
			}
		}
	}
	if answer := must(t, alice, `{"device":{"do":"list"}}`); !strings.Contains(answer, `"device":"alice-phone"`) || !strings.Contains(answer, `"online":true`) {
		t.Errorf("alice's devices: %s", answer)
	}
	if answer := must(t, alice, `{"history":{"conv":"u:bob"}}`); !strings.Contains(answer, `"text":"for bob"`) || strings.Contains(answer, "forged") {
		t.Errorf("alice's history: %s", answer)
	}
	for _, word := range []string{"mallory", "typing", "forged", "mine"} {
		if heard := strings.Join(alice.heard(), "\n"); strings.Contains(heard, word) {
			t.Errorf("alice hears of %s: %s", word, heard)
		}
	}
}
