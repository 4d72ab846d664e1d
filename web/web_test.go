package web

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPageIsServedWithItsTypes(t *testing.T) {
	f := func(path, wantType, wantText string) {
		contentType, body, ok := Asset(path)
		if !ok || !strings.HasPrefix(contentType, wantType) || !bytes.Contains(body, []byte(wantText)) {
			t.Errorf("%s: %q, %d bytes, %v", path, contentType, len(body), ok)
		}
	}
	f("/", "text/html", "<title>")
	f("/index.html", "text/html", "/app.js")
	f("/app.js", "text/javascript", "/godwit.js")
	f("/godwit.js", "text/javascript", "export class Client")
	f("/style.css", "text/css", "prefers-color-scheme")
	f("/icon.svg", "image/svg+xml", "<svg")
	for _, path := range []string{"", "/demo.json", "/web.go", "/../web.go", "/index.html/", "//"} {
		if _, _, ok := Asset(path); ok {
			t.Errorf("%q is served", path)
		}
	}
}

// The page must work under default-src 'self' and must not turn what users type
// into markup.
func TestPageNeedsNothingFromElsewhereAndInjectsNothing(t *testing.T) {
	banned := regexp.MustCompile(`\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval)\b|new Function|(src|href)="(https?|data):|\burl\(["']?[a-z/]|@import`)
	for _, path := range []string{"/", "/app.js", "/godwit.js", "/style.css"} {
		_, body, _ := Asset(path)
		if found := banned.Find(body); found != nil {
			t.Errorf("%s has %q", path, found)
		}
	}
	_, index, _ := Asset("/")
	if found := regexp.MustCompile(`(?i)<script(\s+type="module")?>|<style|\son[a-z]+=|\sstyle=`).Find(index); found != nil {
		t.Errorf("the page has inline code: %q", found)
	}
	// Every path the page names is one that Asset serves.
	for _, match := range regexp.MustCompile(`(?:src|href)="(/[^"]+)"|from "(/[^"]+)"`).FindAllSubmatch(slices.Concat(index, appJS), -1) {
		path := string(match[1]) + string(match[2])
		if _, _, ok := Asset(path); !ok {
			t.Errorf("the page asks for %s, which is not served", path)
		}
	}
}
