// Package presence tells sessions who of those they watch is online, without ever
// being more than a small, fixed part of what an edge sends.
//
// A change passes four gates on its way to a watcher:
//
//	router ─▶ Changed ─▶ debounce ─▶ one flip ─▶ queue of the edge ─▶ rights ─▶ Edge.Whisper
//	          (watched    (4 s off,   (2 at once,  (each watch once,    (asked    (one frame for
//	           users       1 s on)     1 in 10 s)   by a token bucket)   each time) many sessions)
//
// What waits at a gate is a difference between what a watcher was told and what
// is so, never an event: a user who comes back while his departure waits costs
// nothing, and any backlog is at most one frame for each watch.
//
// A list belongs to a device, so that it outlives a poll. The package knows no
// conversations, groups or blocks: it asks Rights.
package presence
