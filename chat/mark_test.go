package chat

import "testing"

func TestMarksByTranscript(t *testing.T) {
	runTranscripts(t, "mark_*", func(c *Config) { c.Policy.ChannelAbove = 3 })
}
