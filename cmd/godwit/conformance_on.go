//go:build conformance

package main

// echoPath is where serve --dev echoes WebSocket messages, for conformance suites.
const echoPath = "/echo"
