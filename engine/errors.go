package engine

import "errors"

// Errors of Open, beside those of package wal.
var (
	// ErrLocked: another process, or another Store of this one, uses the directory.
	ErrLocked = errors.New("engine: directory is in use")
	// ErrFormat: the directory was written by another version, or is damaged.
	ErrFormat = errors.New("engine: directory can't be read")
	// ErrConfigChanged: the directory was made with another number of groups or
	// for another node.
	ErrConfigChanged = errors.New("engine: configuration contradicts the directory")
)
