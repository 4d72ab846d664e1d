// Package record measures a load-test run: latencies, rows per second, the
// server's metrics, the cost of processes, and the facts of the host. It knows
// numbers and where the system keeps them; what the operations are, when they
// are due and how the figures are drawn it leaves to others.
//
// A generator process has one Recorder with a Shard for each of its loops. Once
// a second it takes a Sample, which may travel as JSON to the coordinator, whose
// Series adds up the samples of all generators. At the end each process hands
// over its Distributions, which merge without losing precision.
package record
