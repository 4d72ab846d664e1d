package hook

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(s string) *Message {
	return &Message{From: "alice", Conv: "u:bob", CID: "c1", Text: &s}
}

// served returns a client of a server that answers with f.
func served(t *testing.T, change func(*Config), f http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	cfg := Config{URL: server.URL + "/hook", Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheServiceIsToldOfTheMessage(t *testing.T) {
	secret := []byte("0123456789abcdef")
	var body, path, method, kind string
	signed := false
	c := served(t, func(c *Config) {
		c.Secret, c.Now = secret, func() time.Time { return time.UnixMilli(1_700_000_000_123) }
	}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, path, method, kind = string(b), r.URL.Path, r.Method, r.Header.Get("Content-Type")
		signed = r.Header.Get(SignatureHeader) == Sign(secret, "1700000000", b) && r.Header.Get(TimeHeader) == "1700000000"
		io.WriteString(w, `{"allow":true}`)
	})
	f := func(m *Message, want string) {
		t.Helper()
		if v := c.BeforeSend(context.Background(), m); v != (Verdict{Allow: true}) {
			t.Errorf("verdict %+v", v)
		}
		if body != want || path != "/hook" || method != "POST" || kind != "application/json" || !signed {
			t.Errorf("%s %s %s, signed %v:\n%s, want\n%s", method, path, kind, signed, body, want)
		}
	}
	f(text("hi"), `{"from":"alice","conv":"u:bob","cid":"c1","text":"hi","time":1700000000123}`)
	f(text(""), `{"from":"alice","conv":"u:bob","cid":"c1","text":"","time":1700000000123}`)
	f(&Message{From: "a", Conv: "g:1", CID: "c", Type: "x/y", Data: &[]byte{1, 2}}, `{"from":"a","conv":"g:1","cid":"c","type":"x/y","data":"AQI=","time":1700000000123}`)
	edit := text("hi!")
	edit.MID = "AQIDBAUGBwgJCgsMDQ4PEA"
	f(edit, `{"from":"alice","conv":"u:bob","cid":"c1","mid":"AQIDBAUGBwgJCgsMDQ4PEA","text":"hi!","time":1700000000123}`)
	if Sign(secret, "1", []byte("x")) == Sign(secret, "2", []byte("x")) || Sign(secret, "1", []byte("x")) == Sign([]byte("other"), "1", []byte("x")) {
		t.Error("the signature does not cover the time or the secret")
	}
}

func TestWhatCountsAsAVerdict(t *testing.T) {
	status, answer := 200, ""
	hits := 0
	for _, open := range []bool{false, true} {
		c := served(t, func(c *Config) { c.FailOpen = open }, func(w http.ResponseWriter, r *http.Request) {
			hits++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			io.WriteString(w, answer)
		})
		f := func(s int, a string, want Verdict) {
			t.Helper()
			status, answer = s, a
			c.breaker = breaker{}
			if v := c.BeforeSend(context.Background(), text("x")); v != want {
				t.Errorf("open %v, %d %.40s: %+v, want %+v", open, s, a, v, want)
			}
		}
		failed := Verdict{Allow: open, Failed: true}
		f(200, `{"allow":true}`, Verdict{Allow: true})
		f(200, `{"allow":false}`, Verdict{})
		f(200, `{"allow":false,"message":"No."}`, Verdict{Message: "No."})
		f(200, `{"allow":false,"message":"`+strings.Repeat("é", 300)+`"}`, Verdict{Message: strings.Repeat("é", 256)})
		f(200, `{}`, failed)
		f(200, `{"allow":"yes"}`, failed)
		f(200, `null`, failed)
		f(200, ``, failed)
		f(200, `<html>`, failed)
		f(200, `{"allow":true,"x":"`+strings.Repeat("a", answerBytesMax)+`"}`, failed)
		f(500, `{"allow":true}`, failed)
		f(201, `{"allow":true}`, failed)
		f(302, `{"allow":true}`, failed)
		if st := c.Stats(); st.Calls != 13 || st.Failures != 9 || st.Refused != 3 {
			t.Errorf("stats %+v", st)
		}
	}
	if hits != 26 {
		t.Errorf("%d requests: a redirect was followed, or a call repeated", hits)
	}
}

func TestASlowServiceCostsNoMoreThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Config{
			URL: "http://hook.test/", Timeout: 500 * time.Millisecond,
			Logger: slog.New(slog.DiscardHandler), Transport: hanging{},
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now() // of the bubble: no real time passes
		for i := range failuresMax {
			if v := c.BeforeSend(context.Background(), text("x")); v != (Verdict{Failed: true}) {
				t.Errorf("verdict %+v", v)
			}
			if took := time.Since(start); took != time.Duration(i+1)*500*time.Millisecond {
				t.Errorf("%d calls took %s", i+1, took)
			}
		}
		// It is now known to fail: nobody waits for it.
		start = time.Now()
		c.BeforeSend(context.Background(), text("x"))
		if st := c.Stats(); time.Since(start) != 0 || !st.Open || st.Skipped != 1 || st.Waited != failuresMax*500*time.Millisecond {
			t.Errorf("stats %+v", st)
		}
		time.Sleep(pauseMin)
		c.BeforeSend(context.Background(), text("x"))
		if st := c.Stats(); st.Calls != failuresMax+1 {
			t.Error("no probe after the pause")
		}
	})
}

// hanging answers nothing until the caller gives up.
type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestAServiceThatComesBackIsAskedAgain(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	status, hits := 500, 0
	c := served(t, func(c *Config) { c.Now = func() time.Time { return now } }, func(w http.ResponseWriter, _ *http.Request) {
		hits++
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]bool{"allow": true})
	})
	ask := func(n int) (asked int) {
		before := hits
		for range n {
			c.BeforeSend(context.Background(), text("x"))
		}
		return hits - before
	}
	f := func(after time.Duration, want int) {
		t.Helper()
		now = now.Add(after)
		if got := ask(20); got != want {
			t.Errorf("after %s: %d of 20 were asked about, want %d", after, got, want)
		}
	}
	f(0, failuresMax)
	f(pauseMin-1, 0)
	f(1, 1) // the probe, and the next pause is twice as long
	f(2*pauseMin-1, 0)
	f(1, 1)
	for range 10 {
		f(pauseMax, 1)
	}
	status = 200
	f(pauseMax-1, 0)
	f(1, 20)
	status = 500
	f(0, failuresMax)
	status = 200
	f(pauseMin, 20) // the pause began anew
	if c.Stats().Open {
		t.Error("still open")
	}
}

// Calls that were under way when the breaker opened change nothing.
func TestLateFailuresDoNotExtendThePause(t *testing.T) {
	var b breaker
	now := time.Unix(1, 0)
	for range failuresMax {
		b.failed(now, false)
	}
	if b.failed(now, false) != 0 || b.pause != pauseMin || b.answered(false) || !b.isOpen() {
		t.Errorf("breaker %+v", &b)
	}
	if probe, ok := b.enter(now.Add(pauseMin)); !probe || !ok {
		t.Error("no probe")
	}
	if _, ok := b.enter(now.Add(pauseMin)); ok {
		t.Error("two probes at once")
	}
	if !b.answered(true) || b.isOpen() {
		t.Error("the probe did not close it")
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, cfg := range []Config{{}, {URL: "http://x/"}, {URL: "http://a b/", Timeout: 1}, {URL: "http://x/", Timeout: 1, Calls: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
