// Package rows keeps small mutable values and the manifest of a store in one
// Pebble database: what changed since the last checkpoint is in memory (an
// Overlay per raft group), the rest on disk (a DB per node), and a checkpoint
// is one synced batch. docs/formats/rowstore.md gives the bytes.
//
// It refuses to know what a row means, and logs.
package rows
