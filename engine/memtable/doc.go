// Package memtable is what the storage engine has in memory of its logs: Table
// holds the entries that are not yet in a segment, Heads the newest sequence and
// generation of every log, Recent copies of the newest records of warm logs that
// are in segments. None has a pointer per entry, nor the first two one per log,
// so that the garbage collector has next to nothing to mark.
//
// It refuses to know files, raft and segments. Who may call a Table or a Heads at
// the same time is their owner's business; Recent has its own mutexes.
package memtable
