// Package report draws load-test runs for people: one static HTML file per
// report, the page BENCHMARKS.md with its SVG plots, and the comparison of
// repeated runs. The page also shows the newest comparisons of the storage engine
// and of the connection edge with their peers, which bench/engine and bench/edge
// write in formats of their own, and what messages cost by the size of their group
// (harness/groups). Everything this package writes is a pure function
// of the runs it is given, so that writing it again changes nothing.
//
// It takes what stands in a result file as hostile text and doubtful numbers,
// and refuses to know how anything was measured: it neither runs a test nor
// asks a machine, a clock or a network.
package report
