// Package godwit holds the nouns every tier shares: ids, sequences, entries,
// the frames of the client protocol godwit.v1 in both encodings, and the table
// of error and close codes.
//
// It imports nothing of ours and does no I/O. The schema is godwit.proto; the
// codecs here are written by hand so that a hot frame costs no reflection and
// no allocation, and the generated code serves the tests as an oracle.
package godwit
