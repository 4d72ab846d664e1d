// Package load makes the load of a scenario and judges the answers: it plans
// every operation before the first, keeps many cheap sessions on one event loop
// each, counts latency from the moment an operation was due, and checks that
// nothing promised was lost, doubled or put out of order.
//
// One loop owns its sessions, their partners, its recorder and its checker, so
// nothing on the way of a message is shared or locked. The coordinator (Run)
// starts the server, the loops and the stages, and only reads counters while
// they run.
//
// It refuses to know what a server is made of and how results are drawn: it
// speaks godwit.v1 with the root package's codecs over its own few lines of
// WebSocket, and returns a result.Run.
package load
