// Package live answers who is where when one process holds all sessions: a
// table of users and their live sessions, and the time each user was last seen,
// which a Journal keeps in a file for the next process.
//
// It knows only what it is told by Register and Unregister; it does not know
// what a session is, whether one still works, or who may ask.
package live
