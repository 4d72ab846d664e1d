// Package js holds the JavaScript SDK as bytes, so that a Go program can serve
// the very file that others install. It knows nothing of who serves it.
package js

import _ "embed" // for Source

// Source is godwit.js, an ES module.
//
//go:embed godwit.js
var Source []byte
