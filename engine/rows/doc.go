// Package rows keeps small mutable values and the manifest of a store in one
// Pebble database: what changed since the last checkpoint is in memory, the
// rest on disk, and a checkpoint is one synced batch.
//
// It refuses to know what a row means, and logs.
package rows

import _ "github.com/cockroachdb/pebble/v2"
