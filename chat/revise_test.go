package chat

import (
	"testing"
	"time"
)

func TestRevisionsByTranscript(t *testing.T) {
	runTranscripts(t, "revise_*", func(c *Config) { c.Policy.EditWindow = time.Hour })
}
