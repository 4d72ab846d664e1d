package client_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/godwit-im/godwit/client"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := run(ctx, os.Getenv("GODWIT_TOKEN"))
	fmt.Println(err)
}

func run(ctx context.Context, token string) error {
	c, err := client.Dial(ctx, client.Config{URL: "ws://127.0.0.1:8080/v1/ws", Token: token})
	if err != nil {
		return err
	}
	defer c.Close()
	sent, err := c.Send(ctx, "bob", client.Message{Text: "hi"})
	if err != nil {
		return err // refused, not sent or unknown: see Send
	}
	fmt.Println("stored as", sent.Seq)
	for item, err := range c.Events(ctx) {
		if err != nil {
			return err
		}
		fmt.Println(item.Entry.Seq, string(item.Entry.Msg.Body))
	}
	return nil
}

// A client that keeps its user's place in the log across restarts, wherever a
// WebSocket gets through or not, and tells what carries it.
func ExampleConfig_transport() {
	c, err := client.New(client.Config{
		URL:       "wss://chat.example.com/v1/ws",
		Transport: client.Auto, // the default: polls https://chat.example.com/v1/poll where it must
		TokenSource: func(ctx context.Context) (string, error) {
			return os.Getenv("GODWIT_TOKEN"), ctx.Err()
		},
		Device: "laptop",
		Resume: &client.Position{Epoch: "k3Zx", Seq: 918291},
		OnState: func(s client.State) {
			fmt.Println(s.Phase, s.Transport)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
}
