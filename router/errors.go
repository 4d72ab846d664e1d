package router

import "errors"

// What a Directory answers beside a Store's errors.
var (
	// ErrFormat: a stored value can't be read; a newer version wrote it, or somebody
	// else.
	ErrFormat = errors.New("router: a stored value can't be read")
	// ErrNewer: a newer connection of the device stands, or has just ended. The one
	// that was to be registered is the older, and its session should end.
	ErrNewer = errors.New("router: a newer connection of the device stands")
	// ErrSuperseded: another process has this name now, with a larger epoch.
	ErrSuperseded = errors.New("router: another process has taken this name")
	// ErrLocked: another has the lock, and beats.
	ErrLocked = errors.New("router: another has the lock")
	// ErrFenced: another has taken the lock since; nothing was written.
	ErrFenced = errors.New("router: the lock was taken by another")
	// ErrVersion: the map has another version than the one that was changed.
	ErrVersion = errors.New("router: the map was changed meanwhile")
)
