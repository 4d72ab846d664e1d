// Package godwitpb is the code protoc-gen-go makes of godwit.proto. It is an
// oracle for the tests of the hand-written codecs and nothing else imports it:
// it knows the bytes of Protobuf and nothing of Godwit.
package godwitpb

//go:generate protoc -I../.. --go_out=. --go_opt=paths=source_relative godwit.proto
