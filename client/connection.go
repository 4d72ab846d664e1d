package client

import (
	"errors"
	"fmt"
	"sync"

	"github.com/godwit-im/godwit"
)

// connection is one session's transport as the loop sees it: a socket or a
// poller. Its goroutines tell the loop of events; the loop never waits for them.
type connection interface {
	// start runs its goroutines; the last event of a connection has err set.
	start(ended *sync.WaitGroup)
	// write queues one frame, or says why not: the server does not read, or would
	// refuse a frame of that size (godwit.ErrTooLarge).
	write(f *godwit.ClientFrame) error
	// finish ends it in good order, discard at once. Neither waits, and after
	// discard no event of it is delivered.
	finish()
	discard()
}

// event is what the loop hears of a connection: frames, a sign of life, or its end.
type event struct {
	from   connection
	frames []godwit.ServerFrame // owned, their entries too
	pong   bool                 // of a socket: the answer to prove
	held   *held                // of a poller that posts nothing until it is released
	err    error                // the connection ended
}

const (
	inboundBytesMax  = 16 << 20 // one message of the server: a page of the largest bodies
	outboundBytesMax = 4 << 20  // not yet written; above it the connection is given up
	frameBytesMin    = 4 << 10  // a message of ours before the server named its limit
)

var errNotReading = errors.New("client: the server does not read")

// parseMessage reads the frames of one message and gives them memory of their own.
func parseMessage(encoding godwit.Encoding, message []byte) (frames []godwit.ServerFrame, err error) {
	for rest := message; len(rest) > 0; {
		var frame []byte
		if frame, rest, err = godwit.NextFrame(encoding, rest); err != nil {
			return frames, fmt.Errorf("read frame: %w", err)
		}
		var f godwit.ServerFrame
		switch err := f.Parse(encoding, frame); {
		case errors.Is(err, godwit.ErrFrameUnknown): // of a newer server: additions are ignored
		case err != nil:
			return frames, fmt.Errorf("parse frame: %w", err)
		default:
			ownEntries(&f)
			frames = append(frames, f)
		}
	}
	return frames, nil
}

// ownEntries gives each entry memory of its own: the message's goes back to a
// pool, and an application that keeps one entry must not keep a page of them.
// Nothing else in a server frame aliases its source.
func ownEntries(f *godwit.ServerFrame) {
	switch f.Kind {
	case godwit.KindEvent:
		own(&f.Event)
	case godwit.KindSync:
		for i := range f.Sync.Entries {
			own(&f.Sync.Entries[i])
		}
	case godwit.KindHistory:
		for i := range f.History.Entries {
			own(&f.History.Entries[i])
		}
	case godwit.KindConversations:
		for i := range f.Conversations.Items {
			own(&f.Conversations.Items[i].Last)
		}
	}
}

func own(e *godwit.Entry) {
	m := &e.Msg
	buf := make([]byte, 0, len(m.Conv)+len(m.From)+len(m.CID)+len(m.Type)+len(m.Body))
	for _, field := range []*[]byte{&m.Conv, &m.From, &m.CID, &m.Type, &m.Body} {
		start := len(buf)
		buf = append(buf, *field...)
		*field = buf[start:len(buf):len(buf)]
	}
}
