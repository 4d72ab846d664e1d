// Package web is the demo page: two users chat side by side, drop their network,
// restart the server and see themselves resume. It is bytes and their types; it
// knows nothing of who serves them. The page talks to the server through the
// JavaScript SDK like any other client, and learns users, tokens and the restart
// button from /demo.json, which a demo server adds.
package web

import (
	_ "embed" // for the assets

	"github.com/godwit-im/godwit/sdk/js"
)

var (
	//go:embed index.html
	indexHTML []byte
	//go:embed app.js
	appJS []byte
	//go:embed style.css
	styleCSS []byte
	//go:embed icon.svg
	iconSVG []byte
)

// Asset returns what to serve under a path, which begins with a slash. body is
// shared and must not be changed. All of it works under the policy
// "default-src 'self'", with connect-src extended to the restart address.
func Asset(path string) (contentType string, body []byte, ok bool) {
	switch path {
	case "/", "/index.html":
		return "text/html; charset=utf-8", indexHTML, true
	case "/app.js":
		return "text/javascript; charset=utf-8", appJS, true
	case "/godwit.js":
		return "text/javascript; charset=utf-8", js.Source, true
	case "/style.css":
		return "text/css; charset=utf-8", styleCSS, true
	case "/icon.svg":
		return "image/svg+xml", iconSVG, true
	}
	return "", nil, false
}
