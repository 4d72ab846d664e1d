// Package router is the directory of a cluster: which edge holds a user's devices,
// which edges and nodes there are, and which node should hold which partition. It
// keeps that in a Store: router/tikv for a cluster, router/local within one process.
//
// What it says is a hint. Correctness rests on sequences in the users' logs and on
// raft; a route that is old or missing costs time and loses nothing. It knows
// neither logs nor sockets nor who may do what.
//
// The layout of all keys and values stands in keys.go.
package router
