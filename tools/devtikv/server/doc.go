// Package server is a TiKV cluster to develop and test against: one PD and one
// TiKV, each on a real socket, with the subset of their gRPC services that
// client-go uses. Behind them stands client-go's own mock store, in memory.
//
// It proves wiring: that requests are encoded, sent, counted, refused, delayed and
// lost as told, and that a client's reads, conflicts, locks and timestamps come out
// right against a store with snapshot isolation. It does not prove how a real
// cluster behaves: there is no raft, no disk, no second replica, no leader that
// moves, no load, no memory limit, no write stall, no clock of three PDs. Commits in
// one phase are made of the mock's two under one lock. It is no place for data that
// someone wants to keep, and it asks nobody who he is.
package server
