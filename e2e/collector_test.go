package e2e

import (
	"strings"
	"testing"
)

// Go's own percent is 100; a server with nothing to do takes a lower one, with its
// first looks at the heap. The log says so: asking for metrics would be something to do.
func TestAQuietServerHoldsLittleGarbage(t *testing.T) {
	s := newServer(t, "", "GOGC=", "GODWIT_LOG_LEVEL=debug")
	s.start()
	until(t, "the percent of a quiet server is in effect", func() bool {
		return strings.Contains(s.stderr.String(), `msg="garbage collection follows the load" percent=50 `)
	})
	if percent := metric(t, s.ops, "go_gc_gogc_percent"); percent >= 100 {
		t.Errorf("percent %g", percent)
	}
}
