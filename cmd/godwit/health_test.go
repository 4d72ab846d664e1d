package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHealthTellsHowAServerIs(t *testing.T) {
	ops := strings.TrimPrefix(startDemo(t, t.TempDir()).ops, "http://")
	f := func(code int, want string, environ []string, args ...string) {
		t.Helper()
		out, errs, got := runApp(t, environ, append([]string{"health"}, args...)...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Errorf("%v: exit %d, %q, %q; want exit %d and %q", args, got, out, errs, code, want)
		}
	}
	f(exitDone, "ready\n", nil, "--ops", ops)
	f(exitDone, "ready\n", []string{"GODWIT_OPS=" + ops}, "--ready")
	f(exitDone, `{"status":"ready"}`, nil, "--ops", ops, "--json")
	f(exitUsage, "unknown command", nil, "now")

	status := "draining"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, `{"status":"`+status+`"}`)
	}))
	defer s.Close()
	ops = s.Listener.Addr().String()
	f(exitDone, "draining", nil, "--ops", ops)
	f(exitFailed, "draining", nil, "--ops", ops, "--ready")
	f(exitFailed, `{"error":{"code":"failed"`, nil, "--ops", ops, "--ready", "--json")
	status = `"`
	f(exitFailed, "200 OK", nil, "--ops", ops)
	s.Close()
	f(exitFailed, `"code":"unreachable"`, nil, "--ops", ops, "--json")
}

func TestServeTellsTheServiceManager(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "n")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	_ = manager.SetReadDeadline(time.Now().Add(time.Minute))
	heard := func() string {
		b := make([]byte, 100)
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, environ: []string{"A=1", "NOTIFY_SOCKET=" + socket}}
	ended := make(chan int)
	go func() {
		ended <- a.run(ctx, []string{"serve", "--dev", "--listen", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--data", t.TempDir()})
	}()
	if got := heard(); got != "READY=1" {
		t.Errorf("told %q", got)
	}
	cancel()
	if got := heard(); got != "STOPPING=1" {
		t.Errorf("told %q", got)
	}
	if code := <-ended; code != exitDone {
		t.Errorf("exit %d", code)
	}
	if !slices.Equal(a.environ, []string{"A=1"}) {
		t.Errorf("edge processes would inherit %q", a.environ)
	}
}
