package chat

import "testing"

func TestMarksByTranscript(t *testing.T) { runTranscripts(t, "mark_*", nil) }
