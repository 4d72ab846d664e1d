package main

import "testing"

// TestBenchGroupsNamesTheCommandThatMakesItAgain, without where files go.
func TestBenchGroupsNamesTheCommandThatMakesItAgain(t *testing.T) {
	for want, flags := range map[string]groupsFlags{
		"godwit bench groups":         {channel: -1},
		"godwit bench groups --quick": {quick: true, channel: -1, out: "x.json", data: "x"},
		"godwit bench groups --sizes 10,100 --channel 0 --online 50 --rounds 2": {sizes: []int{10, 100}, online: 50, rounds: 2},
	} {
		if got := flags.command(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
