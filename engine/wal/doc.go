// Package wal is the node's one write-ahead log, shared by all raft groups:
// frames of records, each frame one group commit, in pre-written files.
//
// It is for one thing: a record whose frame was synced is given back by Open,
// once, in order and unchanged, or Open refuses to start. It tells three
// cases apart: a stale frame of a file's former life, a torn tail (cut), and
// corruption (refused). The bytes and the rules are docs/formats/wal.md.
//
// It refuses to know raft, chat, what a Kind means, when to sync, who may open
// the directory (the caller holds a lock on it) and when a file can be released.
//
// A Log belongs to one goroutine. Only LSN, SyncedLSN and Stats may be called
// from others. One goroutine of its own makes the next file, of a released one if
// it can, and removes released files; Close waits for it.
package wal
