// Package memtable holds the entries that are not yet in a segment, and the
// newest sequence of every log, without a pointer per entry or per log.
//
// It refuses to know files, raft, and who may call at the same time: its owner
// serialises writers against readers.
package memtable
