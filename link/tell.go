package link

import (
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/godwit-im/godwit"
)

// read hands what comes from the engine process to the edge until the stream ends.
func (c *Client) read(stream grpc.ClientStream) error {
	var in message
	defer in.free()
	r := tellReader{client: c, edge: c.edge}
	for {
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		items, err := r.batch(in.bytes())
		c.traffic.received(items, len(in.bytes()))
		if err != nil {
			return err
		}
	}
}

// tellReader hands batches to the edge. What it lends the edge dies with the call.
type tellReader struct {
	client   *Client
	edge     Edge
	frame    godwit.ServerFrame
	sessions []godwit.SessionID
	entries  []godwit.Entry
}

func (r *tellReader) batch(batch []byte) (items int, err error) {
	for len(batch) > 0 {
		var kind itemKind
		var item fields
		if kind, item, batch, err = nextItem(batch); err != nil {
			return items, err
		}
		items++
		r.item(kind, &item)
		if item.bad {
			return items, errItem
		}
	}
	return items, nil
}

func (r *tellReader) item(kind itemKind, f *fields) {
	switch kind {
	case itemConnected:
		s, flags := f.session(), f.uint()
		w := godwit.Welcome{Epoch: string(f.text()), Head: f.seq(), Start: f.seq(), Reason: string(f.text()), Resumed: flags&flagResume != 0, Channels: flags&flagChannels != 0, Digest: f.uint()}
		if !f.bad {
			r.edge.Connected(s, w)
		}
	case itemReply:
		r.reply(f)
	case itemDeliver:
		r.deliver(f)
	case itemHint:
		r.readSessions(f)
		if head := f.seq(); !f.bad {
			r.edge.Hint(r.sessions, head)
		}
	case itemTell:
		if r.told(f) {
			r.edge.Tell(r.sessions, &r.frame)
		}
	case itemWhisper:
		if r.told(f) {
			r.edge.Whisper(r.sessions, &r.frame)
		}
	case itemFetched:
		r.fetched(f)
	case itemClose:
		s, code, reason := f.session(), f.uint(), string(f.text())
		if !f.bad {
			r.edge.Close(s, godwit.CloseCode(code), reason)
		}
	case itemDrain:
		after, spread := f.uint(), f.uint()
		if !f.bad {
			r.client.cfg.Drain(milliseconds(after), milliseconds(spread))
		}
	}
}

func milliseconds(ms uint64) time.Duration {
	return time.Duration(min(ms, uint64(24*time.Hour/time.Millisecond))) * time.Millisecond
}

// reply shows the edge an answer. One that does not parse is owed all the same:
// the session is closed, since the client must not wait for ever.
func (r *tellReader) reply(f *fields) {
	s := f.session()
	if f.bad {
		return
	}
	if err := r.frame.Parse(godwit.EncodingProto, f.rest); err != nil {
		r.client.cfg.Logger.Error("an answer does not parse", "err", err)
		r.edge.Close(s, godwit.CloseInternal, "answer_unreadable")
		return
	}
	r.edge.Reply(s, &r.frame)
}

func (r *tellReader) deliver(f *fields) {
	r.readSessions(f)
	entry, err := parseEntry(f.rest, &r.frame)
	if f.bad || err != nil {
		f.bad = true
		return
	}
	r.edge.Deliver(r.sessions, &entry)
}

func (r *tellReader) readSessions(f *fields) {
	r.sessions = r.sessions[:0]
	n := f.uint()
	if n > uint64(len(f.rest)) {
		f.bad = true
		return
	}
	for range n {
		r.sessions = append(r.sessions, f.session())
	}
}

// told reads the sessions and the frame of a Tell or a Whisper.
func (r *tellReader) told(f *fields) bool {
	r.readSessions(f)
	if f.bad {
		return false
	}
	f.bad = r.frame.Parse(godwit.EncodingProto, f.rest) != nil
	return !f.bad
}

var errFetch = errors.New("link: the engine process could not answer the fetch")

func (r *tellReader) fetched(f *fields) {
	s, flags, head, n := f.session(), f.uint(), f.seq(), f.uint()
	if f.bad || n > uint64(len(f.rest)) {
		f.bad = true
		return
	}
	if flags&flagFailed != 0 {
		r.edge.Fetched(s, nil, 0, errFetch)
		return
	}
	r.entries = r.entries[:0]
	for range n {
		entry, err := parseEntry(f.text(), &r.frame) // Protobuf entries alias the batch, not the frame
		if f.bad || err != nil {
			f.bad = true
			return
		}
		r.entries = append(r.entries, entry)
	}
	r.edge.Fetched(s, r.entries, head, nil)
	clear(r.entries) // they would keep the batch's memory
}
