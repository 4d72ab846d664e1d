package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/godwit-im/godwit/client"
)

// stdinBytesMax is more than any server takes as one body.
const stdinBytesMax = 16 << 20

// sentLine is what send prints.
type sentLine struct {
	MID  string `json:"mid"`
	Seq  uint64 `json:"seq"`
	Conv string `json:"conv"`
	Dup  bool   `json:"dup"`
	GSeq uint64 `json:"gseq,omitempty"`
}

func (a *app) sendCommand() *cobra.Command {
	var session sessionFlags
	var cid string
	c := &cobra.Command{
		Use:   "send TO TEXT|-",
		Short: "Send one message and wait until it is stored",
		Long: `Send one message and wait until it is stored durably. TO is a user (bob or
u:bob) or a group (g:ID). TEXT - reads standard input to its end, as it is.

Prints one line: {"mid":"…","seq":7,"conv":"u:bob","dup":false}, to a group also its
gseq, the place in the group's log; seq is 0 in a channel. dup says that a
message of this --cid was stored before: a send that ended with the error
"unknown" can be repeated with the same --cid until it is known.`,
		Example: `  godwit send --token "$TOKEN" bob 'see you at eight'
  fortune | godwit send --token "$TOKEN" bob -
  godwit send --url wss://chat.example/v1/ws --token "$TOKEN" --cid order-17 u:bob 'paid'`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := session.config(a.environ)
			if err != nil {
				return err
			}
			return work(func(c *cobra.Command, _ []string) error {
				return a.send(c.Context(), &session, cfg, args[0], args[1], cid)
			})(c, args)
		},
	}
	session.register(c)
	c.Flags().StringVar(&cid, "cid", "", "client `ID` that names the message across retries (default random)")
	return c
}

func (a *app) send(ctx context.Context, session *sessionFlags, cfg client.Config, to, text, cid string) error {
	if text == "-" {
		data, err := io.ReadAll(io.LimitReader(a.stdin, stdinBytesMax))
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		text = string(data)
	}
	ctx, cancel := context.WithTimeout(ctx, session.timeout)
	defer cancel()
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	sent, err := c.Send(ctx, to, client.Message{CID: cid, Text: text})
	if err != nil {
		return session.explain(c, err)
	}
	return a.printJSON(sentLine{
		MID:  base64.RawURLEncoding.EncodeToString(sent.MID[:]),
		Seq:  uint64(sent.Seq),
		Conv: string(sent.Conv),
		Dup:  sent.Dup,
		GSeq: uint64(sent.GSeq),
	})
}
