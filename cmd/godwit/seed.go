package main

import (
	"context"
	"fmt"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/client"
)

// greetings are the first messages of the demo. The client ids are fixed: a
// start that was killed between two of them goes on where it was.
var greetings = []struct {
	from, to godwit.UserID
	cid      string
	text     string
}{
	{"alice", "bob", "demo-1", "Hi Bob, did the birds come back?"},
	{"bob", "alice", "demo-2", "They did: 12,000 km without a stop, and not one lost on the way."},
	{"alice", "bob", "demo-3", "Press “restart server” and see whether I lose a message."},
	{"carol", "alice", "demo-4", "Count me in for Saturday."},
}

// seedMax bounds the seeding: the server is this process, so it is near.
const seedMax = 30 * time.Second

// seed sends the greetings as their senders, in order, unless they are all
// there: after a week the server no longer tells a repeat from a new message.
func seed(ctx context.Context, url string, signer *auth.Signer) error {
	ctx, cancel := context.WithTimeout(ctx, seedMax)
	defer cancel()
	clients := map[godwit.UserID]*client.Client{}
	for _, user := range demoUsers {
		token, err := signer.Mint(user, time.Hour)
		if err != nil {
			return err
		}
		c, err := client.Dial(ctx, client.Config{URL: url, Token: token, Device: "demo-seed"})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		clients[user] = c
	}
	if int(clients["alice"].Head()) >= len(greetings) { // all of them pass through her log
		return nil
	}
	for _, g := range greetings {
		if _, err := clients[g.from].Send(ctx, string(g.to), client.Message{CID: g.cid, Text: g.text}); err != nil {
			return fmt.Errorf("as %s: %w", g.from, err)
		}
	}
	return nil
}
