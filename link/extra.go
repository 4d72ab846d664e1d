package link

import "github.com/godwit-im/godwit"

func (h *Hub) Hint(sessions []godwit.SessionID, head godwit.Seq) {}

func (h *Hub) Tell(sessions []godwit.SessionID, f *godwit.ServerFrame) {}

func (h *Hub) Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame) {}
