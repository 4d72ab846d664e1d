// Package groups measures what a message of a group costs, by the number of its
// members: CPU of the server per delivery, entries written per message, bytes on
// disk per member and message, and how long a delivery takes. Members are real
// users; as many of them as asked for hold sessions of the Go SDK.
//
// It refuses to know how a server is started and where results are kept.
package groups
