package link

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit"
)

// attached is one edge process on its stream.
type attached struct {
	hub   *Hub
	index int
	epoch uint64
	about About
	origin
	since int64 // ms since the Unix epoch
	queue *queue
	cut   chan struct{} // closed by end
	why   error         // set before cut is closed
	once  sync.Once
	gone  chan struct{} // closed by forget

	ready    atomic.Bool
	sessions atomic.Int64
	traffic  traffic
}

// owe puts what the edge process must not miss; if even that finds no room, the
// process is cut off.
func (a *attached) owe(item ...[]byte) {
	if !a.queue.put(a.hub.bounds.last, item...) {
		a.end(errStuck)
	}
}

var errStuck = status.Error(codes.ResourceExhausted, "link: the edge process does not take what it is owed")

// end cuts the edge process off.
func (a *attached) end(why error) {
	a.once.Do(func() {
		a.why = why
		close(a.cut)
	})
}

// greet reads the first message of a stream and admits who wrote it.
func (h *Hub) greet(stream grpc.ServerStream) (*attached, error) {
	ctx := stream.Context()
	if err := h.authorized(ctx); err != nil {
		return nil, h.refuse(ctx, "", err)
	}
	var first message
	defer first.free()
	if err := stream.RecvMsg(&first); err != nil {
		return nil, err
	}
	hello, chosen, err := parseHello(first.bytes(), h.cfg.versions)
	if err != nil {
		return nil, h.refuse(ctx, hello.Node, status.Error(codes.FailedPrecondition, "link: "+err.Error()))
	}
	tlsName, err := h.identified(ctx, hello.Node)
	if err != nil {
		return nil, h.refuse(ctx, hello.Node, err)
	}
	a, err := h.admitAlone(ctx, hello.About, origin{address: addressOf(ctx), tlsName: tlsName, version: chosen})
	if err != nil {
		return nil, h.refuse(ctx, hello.Node, err)
	}
	return a, nil
}

// attach serves one stream from its first message to its end.
func (h *Hub) attach(stream grpc.ServerStream) error {
	a, err := h.greet(stream)
	if err != nil {
		return err
	}
	log := h.cfg.Logger.With("edge", a.about.Node, "address", a.address, "tls_name", a.tlsName, "pid", a.about.PID, "lease", a.about.Lease, "version", a.version, "index", a.index, "epoch", fmt.Sprintf("%016x", a.epoch))
	log.Info("edge process attached")
	ended := make(chan error, 2)
	h.running.Go(func() {
		err := a.write(stream)
		ended <- err
	})
	h.running.Go(func() {
		err := a.read(stream)
		h.forget(a)
		ended <- err
	})
	select {
	case err = <-ended:
	case <-a.cut:
		err = a.why
	}
	// Returning ends the stream, and with it whichever of the two is left. No
	// delivery is for this edge process from here on.
	h.edges[a.index].CompareAndSwap(a, nil)
	a.queue.close()
	if n := a.sessions.Load(); n > 0 {
		log.Warn("edge process lost with its sessions", "sessions", n, "err", err)
	} else {
		log.Info("edge process left", "err", err)
	}
	return err
}

// write sends the welcome, then whatever queues, until the stream ends.
func (a *attached) write(stream grpc.ServerStream) error {
	w := welcome{Version: a.version, Node: a.hub.cfg.Node, Index: a.index, Epoch: a.epoch, Settings: a.hub.cfg.Settings}
	if err := stream.SendMsg(newMessage(mustJSON(w))); err != nil {
		return err
	}
	return writeAll(stream, a.queue, &a.traffic, stream.Context().Done())
}

// read hands what comes to the chat tier until the stream ends.
func (a *attached) read(stream grpc.ServerStream) error {
	var in message
	defer in.free()
	r := askReader{attached: a}
	for {
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		items, err := r.batch(in.bytes())
		a.traffic.received(items, len(in.bytes()))
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
}

// askReader hands one edge process's batches to the chat tier.
type askReader struct {
	*attached
	frame godwit.ClientFrame
	reply godwit.ServerFrame // for a frame that does not parse
}

func (r *askReader) batch(batch []byte) (items int, err error) {
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

func (r *askReader) item(kind itemKind, f *fields) {
	chat := r.hub.cfg.Chat
	switch kind {
	case itemConnect:
		s, flags := sessionAt(r.index, f.session()), f.uint()
		hello := Hello{User: godwit.UserID(f.text()), Device: string(f.text()), Resume: flags&flagResume != 0, Epoch: string(f.text()), ResumeSeq: f.seq(), Issued: int64(f.uint())}
		hello.Channels, hello.Call = f.places(), flags&flagCall != 0
		if len(f.rest) > 0 { // an edge process of an earlier release gives none
			hello.Stamp = f.uint()
		}
		if !f.bad {
			if !hello.Call {
				r.sessions.Add(1)
			}
			chat.Connect(s, hello)
		}
	case itemDisconnect:
		s, user, device := sessionAt(r.index, f.session()), godwit.UserID(f.text()), string(f.text())
		if !f.bad {
			chat.Disconnect(s, user, device)
			if r.sessions.Add(-1) == 0 {
				r.hub.signal()
			}
		}
	case itemRequest:
		s, user := sessionAt(r.index, f.session()), godwit.UserID(f.text())
		if f.bad {
			return
		}
		if err := r.frame.Parse(godwit.EncodingProto, f.rest); err != nil {
			r.refuse(s, r.frame.ID, err)
			return
		}
		chat.Request(s, user, &r.frame)
	case itemFetch:
		s, user := sessionAt(r.index, f.session()), godwit.UserID(f.text())
		after, limit, bytesMax := f.seq(), f.uint(), f.uint()
		if !f.bad {
			chat.Fetch(s, user, after, int(min(limit, 1<<20)), int(min(bytesMax, 1<<30)))
		}
	case itemReady:
		r.ready.Store(true)
		r.hub.signal()
	}
}

// places reads the places of a session in channels, which are the caller's.
func (f *fields) places() []godwit.ChannelPlace {
	n := f.uint()
	if n > godwit.ChannelPlacesMax {
		f.bad = true
	}
	if f.bad || n == 0 {
		return nil
	}
	places := make([]godwit.ChannelPlace, n)
	for i := range places {
		places[i] = godwit.ChannelPlace{Conv: bytes.Clone(f.text()), GSeq: f.seq()}
	}
	return places
}

// refuse answers a frame that the edge process read and this one can't: they do
// not run the same program.
func (r *askReader) refuse(s godwit.SessionID, id uint64, err error) {
	refusal := godwit.ErrUnsupported
	_ = errors.As(err, &refusal)
	r.reply = godwit.ServerFrame{ID: id, Kind: godwit.KindError, Error: refusal.Reply(0)}
	r.hub.Reply(s, &r.reply)
}
