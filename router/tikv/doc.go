// Package tikv keeps a cluster's directory in TiKV, by client-go. It is the only
// package that knows that library, and it knows nothing of what the keys mean.
//
// Every call has a deadline of its own, passes a limiter and a breaker, and runs where
// it can be left alone: client-go has budgets of up to 40 s, and some of its ways take
// no context. Reads outside of a transaction take no timestamp (they read "the newest
// there is", version 2^64−1), so they go on while PD is away and the regions are known.
// Transactions are optimistic, snapshot isolation; committing in one phase, and without
// the timestamp that orders unrelated transactions, are optimisations that nothing
// here needs. A commit that failed for any reason but a conflict is unknown: client-go
// knows better sometimes, but not always (a leader that steps down answers "stale" to
// what its successor may still commit).
//
// Clusters of API version 1 only (TiKV's default). client-go logs through a logger of
// the process, and keeps its metrics in one registry of the process; Open turns the
// first to the Config's logger and leaves the second alone.
package tikv
