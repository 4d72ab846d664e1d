package main

import (
	"net"
	"slices"
	"strings"
)

// What a service manager is told, as sd_notify(3) has it.
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
)

// notifySocket is where a service manager listens. Empty: nobody does.
const notifySocket = "NOTIFY_SOCKET"

// notifier takes the service manager's socket out of the environment, so that
// edge processes do not speak for this one, and returns what tells it something.
// Nobody's listening is no reason not to serve: what can't be said is not.
func (a *app) notifier() (notify func(state string)) {
	socket := ""
	a.environ = slices.DeleteFunc(slices.Clone(a.environ), func(entry string) bool {
		name, value, _ := strings.Cut(entry, "=")
		if name == notifySocket {
			socket = value
		}
		return name == notifySocket
	})
	return func(state string) {
		if socket == "" {
			return
		}
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte(state))
		_ = conn.Close()
	}
}
