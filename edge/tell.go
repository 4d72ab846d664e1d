package edge

import "github.com/godwit-im/godwit"

// Hint says that the log of the user of these sessions has entries up to head.
func (e *Edge) Hint(sessions []godwit.SessionID, head godwit.Seq) {}

// Tell writes a frame outside of the user's log to sessions, in order.
func (e *Edge) Tell(sessions []godwit.SessionID, f *godwit.ServerFrame) {}

// Whisper writes an ephemeral frame to those sessions that have room for it.
func (e *Edge) Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame) {}
