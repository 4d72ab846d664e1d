//go:build !conformance

package main

// echoPath is empty: release builds have no echo endpoint.
const echoPath = ""
