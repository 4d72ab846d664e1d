package record

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const metricsText = `# HELP godwit_messages_total Messages, "quoted" {here}.
# TYPE godwit_messages_total counter
godwit_messages_total{kind="text",room="a}b\"c\\"} 12

godwit_sessions 3.5e2 1700000000000
godwit:rate5m{} -0.25
  go_goroutines	9
latency_bucket{le="+Inf"} 7
broken NaN
broken_too{a="b"} +Inf
`

func TestParseMetricsKeepsLabelsInTheKey(t *testing.T) {
	got, err := ParseMetrics(metricsText)
	want := map[string]float64{
		`godwit_messages_total{kind="text",room="a}b\"c\\"}`: 12,
		"godwit_sessions":           350,
		"godwit:rate5m{}":           -0.25,
		"go_goroutines":             9,
		`latency_bucket{le="+Inf"}`: 7,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestParseMetricsRefusesOtherText(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got, err := ParseMetrics(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v; want %q", text, got, err, want)
		}
	}
	f("<html>", "line 1: no metric's name")
	f("\n9lives 1", "line 2: no metric's name")
	f("a", "0 words")
	f("a one", "no value")
	f("a 1 2 3", "3 words")
	f(`a{b="c 1`, "labels without an end")
	f(`a{b="c\"} 1`, "labels without an end")
	f("a 1\na 2", "line 2: a stands twice")
	var many strings.Builder
	for i := range scrapeMaxSeries + 1 {
		fmt.Fprintf(&many, "a%d 1\n", i)
	}
	f(many.String(), "over 100000 series")
}

func TestParseMetricsNeverPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(metricsText)
		for range rapid.IntRange(0, 6).Draw(t, "edits") {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("{}\"\\ \n1eN\xff\x00a")).Draw(t, "byte")
		}
		got, err := ParseMetrics(string(text[:rapid.IntRange(0, len(text)).Draw(t, "end")]))
		for key := range got {
			if err != nil || key == "" || !bytes.Contains(text, []byte(key)) {
				t.Fatalf("key %q, %v", key, err)
			}
		}
	})
}

func TestScrapeFetchesMetrics(t *testing.T) {
	answers := http.NewServeMux()
	answers.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metricsText) })
	answers.HandleFunc("GET /endless", func(w http.ResponseWriter, _ *http.Request) {
		block := bytes.Repeat([]byte("#"), 1<<20)
		for range 9 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	answers.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	server := httptest.NewServer(answers)
	defer server.Close()
	got, err := Scrape(context.Background(), server.Client(), server.URL+"/metrics")
	if err != nil || got["godwit_sessions"] != 350 {
		t.Errorf("%v, %v", got, err)
	}
	f := func(ctx context.Context, url, want string) {
		t.Helper()
		if got, err := Scrape(ctx, server.Client(), url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", url, got, err, want)
		}
	}
	f(context.Background(), server.URL+"/absent", "404 Not Found")
	f(context.Background(), server.URL+"/endless", "over 8 MiB")
	f(context.Background(), server.URL+"/page", "no metric's name")
	f(context.Background(), "::", "scrape")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	f(ended, server.URL+"/metrics", context.Canceled.Error())
	server.Close()
	f(context.Background(), server.URL+"/metrics", "scrape")
}
