package chat

import "github.com/godwit-im/godwit"

// entry fills e from a record that needs no other to be shown.
func (m messageIDs) entry(e *godwit.Entry, log godwit.LogID, r *godwit.Record) bool {
	c := converter{ids: m, log: log}
	var md meta
	return c.entry(e, &md, r) == shownEntry
}
