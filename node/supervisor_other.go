//go:build !linux

package node

import (
	"errors"
	"os"
	"os/exec"
)

func tie(*exec.Cmd) {}

// reservePort refuses: elsewhere an edge process could outlive this one and keep
// its share of the port.
func reservePort(string) (string, *os.File, error) {
	return "", nil, errors.New("edges needs Linux")
}
