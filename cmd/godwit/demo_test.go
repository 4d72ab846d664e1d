package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// demoRun is a demo in this process.
type demoRun struct {
	t         *testing.T
	url, ops  string // http://…
	transport *http.Transport
}

// startDemo runs a demo until the test ends, and then wants exit code 0.
func startDemo(t *testing.T, dir string) *demoRun {
	t.Helper()
	return startDemoAt(t, dir, "127.0.0.1:0", "127.0.0.1:0")
}

func startDemoAt(t *testing.T, dir, listen, ops string) *demoRun {
	t.Helper()
	out, stdout := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	a := &app{stdin: strings.NewReader(""), stdout: stdout, stderr: io.Discard}
	ended := make(chan int)
	go func() {
		ended <- a.run(ctx, []string{"demo", "--listen", listen, "--ops", ops, "--data", dir, "--json"})
		_ = stdout.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitDone {
			t.Errorf("the demo ended with %d", code)
		}
	})
	var where struct{ Listen, Ops string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &where) != nil {
		t.Fatalf("%v: %q", err, line)
	}
	public := strings.TrimSuffix(strings.TrimPrefix(where.Listen, "ws://"), "/v1/ws")
	return &demoRun{t, "http://" + public, where.Ops, &http.Transport{DisableKeepAlives: true}}
}

func (d *demoRun) ask(method, url string, header ...string) (*http.Response, string) {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, url, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	reply, err := d.transport.RoundTrip(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return reply, string(body)
}

func (d *demoRun) info() (info demoInfo) {
	d.t.Helper()
	reply, body := d.ask("GET", d.url+"/demo.json")
	if err := json.Unmarshal([]byte(body), &info); err != nil || reply.StatusCode != 200 {
		d.t.Fatalf("%d %v %s", reply.StatusCode, err, body)
	}
	return info
}

// tail returns the log of the demo's i-th user.
func (d *demoRun) tail(i int) string {
	d.t.Helper()
	info := d.info()
	out, errs, code := runApp(d.t, nil, "tail", "--json", "--follow=false", "--url", info.WS, "--token", info.Users[i].Token)
	if code != 0 {
		d.t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	return out
}

func TestDemoSeedsOnceAndRestartsInPlace(t *testing.T) {
	d := startDemoAt(t, t.TempDir(), freeAddress(t), freeAddress(t))
	if reply, body := d.ask("GET", d.url+"/"); reply.StatusCode != 200 || !strings.Contains(body, "<html") {
		t.Errorf("page: %d %.80s", reply.StatusCode, body)
	}
	before, info := d.tail(0), d.info()
	if strings.Count(before, "\n") != len(greetings) || len(info.Users) != 3 || info.Users[1].User != "bob" {
		t.Fatalf("alice's log: %s", before)
	}
	out, errs, code := runApp(t, nil, "send", "--json", "--url", info.WS, "--token", info.Users[0].Token, "bob", "before the restart")
	if code != 0 {
		t.Fatalf("send: exit %d: %s%s", code, out, errs)
	}
	reply, _ := d.ask("POST", info.Restart.URL, info.Restart.Header, info.Restart.Key, "Origin", d.url)
	if reply.StatusCode != http.StatusAccepted || reply.Header.Get("Access-Control-Allow-Origin") != d.url {
		t.Fatalf("restart: %d %v", reply.StatusCode, reply.Header)
	}
	d.await(false)                                                                                                            // the restart has begun
	out, errs, code = runApp(t, nil, "send", "--json", "--url", info.WS, "--token", info.Users[1].Token, "alice", "after it") // retries until the server is back
	if code != 0 {
		t.Fatalf("send: exit %d: %s%s", code, out, errs)
	}
	d.await(true) // the one that goes down may have taken it
	after := d.tail(0)
	if !strings.HasPrefix(after, before) || strings.Count(after, "\n") != len(greetings)+2 {
		t.Errorf("alice's log after the restart:\n%s", after)
	}
}

// await returns once the ops port answers "ready", or does not. Each question is
// answered at once or refused, and the server is down for a second: so this spins briefly.
func (d *demoRun) await(ready bool) {
	d.t.Helper()
	for late := time.Now().Add(time.Minute); ; {
		r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.ops+"/readyz", nil)
		if err != nil {
			d.t.Fatal(err)
		}
		status := 0
		if reply, err := d.transport.RoundTrip(r); err == nil {
			status = reply.StatusCode
			_ = reply.Body.Close()
		}
		switch {
		case (status == http.StatusOK) == ready:
			return
		case time.Now().After(late):
			d.t.Fatalf("ready %v did not come to be", ready)
		}
	}
}

func TestDemoRestartIsForItsPageAlone(t *testing.T) {
	d := startDemo(t, t.TempDir())
	restart := d.info().Restart
	f := func(want int, method string, header ...string) {
		t.Helper()
		if reply, body := d.ask(method, restart.URL, header...); reply.StatusCode != want || want != http.StatusAccepted && want != http.StatusNoContent && reply.Header.Get("Access-Control-Allow-Origin") == "*" {
			t.Errorf("%s %v: %d %s, want %d", method, header, reply.StatusCode, body, want)
		}
	}
	f(http.StatusForbidden, "POST")
	f(http.StatusForbidden, "POST", demoKeyHeader, "guess")
	f(http.StatusForbidden, "POST", demoKeyHeader, restart.Key, "Origin", "http://evil.example")
	f(http.StatusForbidden, "POST", demoKeyHeader, restart.Key, "Origin", "null")
	f(http.StatusForbidden, "OPTIONS", "Origin", "http://evil.example")
	f(http.StatusMethodNotAllowed, "GET", demoKeyHeader, restart.Key)
	f(http.StatusNoContent, "OPTIONS", "Origin", d.url)
	if reply, _ := d.ask("GET", d.ops+"/readyz"); reply.StatusCode != 200 {
		t.Errorf("a refused request restarted the server: %d", reply.StatusCode)
	}
}

func TestFollowingEndsWithItsContext(t *testing.T) {
	d := startDemo(t, t.TempDir())
	info := d.info()
	out, stdout := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int)
	a := &app{stdin: strings.NewReader(""), stdout: stdout, stderr: io.Discard}
	go func() {
		ended <- a.run(ctx, []string{"tail", "--json", "--since", "0", "--url", info.WS, "--token", info.Users[1].Token})
	}()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	var ev struct {
		Seq uint64
		Msg struct{ From, Text string }
	}
	if err != nil || json.Unmarshal([]byte(line), &ev) != nil || ev.Seq != 1 || ev.Msg.From != "alice" || !strings.HasPrefix(line, `{"seq":1,"msg":{`) {
		t.Errorf("%v: %q", err, line)
	}
	drained := make(chan struct{})
	go func() { // a write may be under way
		_, _ = io.Copy(io.Discard, lines)
		close(drained)
	}()
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("exit %d", code)
	}
	_ = stdout.Close()
	<-drained
}
