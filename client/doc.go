// Package client is the Go SDK of the protocol godwit.v1: it keeps one session
// of one device alive and gives the application its user's log in order.
//
//	c, err := client.Dial(ctx, client.Config{URL: "ws://127.0.0.1:8080/v1/ws", Token: token})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	sent, err := c.Send(ctx, "bob", client.Message{Text: "hi"})
//	if err != nil {
//		return err // refused, not sent or unknown: see Send
//	}
//	fmt.Println("stored as", sent.Seq)
//	for item, err := range c.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(item.Entry.Seq, string(item.Entry.Msg.Body))
//	}
//
// What it promises: entries come once and strictly in sequence order, across any
// number of reconnects; a hole is fetched, never skipped; where the log cannot be
// continued an Item with a Discontinuity says so. A message is sent again under
// the same client id, in the order of Submit, until its fate is known.
//
// Where no WebSocket gets through, it polls over plain HTTP and tries a WebSocket
// again from time to time; changing over loses and repeats nothing. Config.Transport
// allows one of them only, State.Transport tells which is in use.
//
// It refuses to know what a server is made of: it imports the nouns and frames of
// package godwit, a WebSocket and HTTP, nothing else. It stores nothing; an application
// that must survive its own restart keeps Position and passes it as Resume.
package client
