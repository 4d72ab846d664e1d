// Package segment reads, writes and merges immutable files of log entries,
// clustered by (log, sequence).
//
// It refuses to know raft, rows, and which files are alive: the manifest does.
package segment

import (
	_ "github.com/klauspost/compress/zstd"
	_ "github.com/maypok86/otter/v2"
)
