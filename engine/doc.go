// Package engine stores durable ordered logs: commands go through raft into one
// write-ahead log, are fsynced, and then applied by a deterministic Machine
// that appends entries to logs and changes rows.
//
// It knows nothing of chat: a log is a number, an entry is a few numbers and
// bytes, a row is a key and a value. It refuses to know clocks beyond the stamp
// it puts on a batch, clients, and who is online.
package engine
