package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestEdgesListsADirectory(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/directory" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"away":true,"edges":[{"name":"edge-1","number":1,"epoch":3,"state":"up","verdict":"suspect","url":"wss://e1.example/v1/ws","zone":"a","sessions":7,"beat":"2026-11-23T16:45:45Z"}],"nodes":[{"name":"node-1","epoch":1,"state":"up","verdict":"alive","address":"10.0.0.5:7000","sessions":0,"beat":"2026-11-23T16:45:45Z"}]}` + "\n"))
	}))
	defer s.Close()
	ops := strings.TrimPrefix(s.URL, "http://")
	out, errs, code := runApp(t, nil, "edges", "--ops", ops)
	want := "KIND    NAME    VERDICT  STATE  SESSIONS  ZONE  WHERE\n" +
		"edge    edge-1  suspect  up     7         a     wss://e1.example/v1/ws\n" +
		"engine  node-1  alive    up     0               10.0.0.5:7000\n"
	if code != exitDone || out != want || !strings.Contains(errs, "is away") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if out, errs, code := runApp(t, nil, "edges", "--json", "--ops", ops); code != exitDone || errs != "" || !strings.HasPrefix(out, `{"away":true,"edges":[{"name":"edge-1",`) || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	if _, errs, code := runApp(t, nil, "edges", "--ops", strings.TrimPrefix(other.URL, "http://")); code != exitFailed || !strings.Contains(errs, "keeps no directory") {
		t.Errorf("exit %d, %q", code, errs)
	}
	other.Close()
	if out, _, code := runApp(t, nil, "edges", "--json", "--ops", strings.TrimPrefix(other.URL, "http://")); code != exitFailed || !strings.Contains(out, `"code":"unreachable"`) {
		t.Errorf("exit %d, %q", code, out)
	}
}
