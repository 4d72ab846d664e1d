// Package chat says what a message means. It has two halves:
//
//   - Machine, the deterministic state above the engine's logs. Commands go in
//     through raft; apply appends to users' logs, changes rows and returns
//     effects. It knows no clock, no randomness, no I/O and no node
//     configuration: equal commands give equal state on every replica.
//   - Service, the part around it at the leader: it checks requests, proposes
//     commands, answers clients, forwards the outbox lanes and serves reads.
//
// A message meets the files in this order: send.go (check, propose) → command.go
// (bytes) → machine.go, apply_send.go (state) → flush.go (reply, hints) →
// forwarder.go, apply_lane.go (the recipient in another group). Reads are in
// connect.go, reads.go and pages.go. The byte layouts are described in
// docs/formats/commands.md and docs/formats/rows.md.
//
// It refuses to know how logs are stored (engine), how clients are connected
// (edge) and where sessions live (router): it declares the few methods it needs
// of each in contracts.go.
package chat
