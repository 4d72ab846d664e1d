// Package segment reads, writes and merges immutable files of log entries,
// clustered by (log, sequence). A Writer makes a file in one pass, a Reader
// answers from it with one read of one block, Merge joins files into one, and a
// Cache keeps decompressed blocks for all of them. docs/formats/segment.md has
// the bytes.
//
// It refuses to know raft, rows, and which files are alive: the manifest does.
package segment
