package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// device is a client written out by hand on the wire protocol, so that what it
// records is what the server sent and not what an SDK made of it. It resumes
// after every loss and, if it sends, keeps up to window sends in flight
// and repeats unanswered ones in order after a reconnect.
type device struct {
	gws.BuiltinEventHandler
	campaign   *campaign
	user, name string
	token      string
	encoding   godwit.Encoding
	sends      bool

	mu       sync.Mutex
	log      deviceLog
	epoch    string
	conn     *gws.Conn
	lastOut  godwit.Seq // last sequence on this connection
	nextID   uint64
	pending  []string          // sent, not answered, in order
	byID     map[uint64]string // request → client id; a probe is prefixed
	again    []string          // refused for now, as in byID, in order
	unacked  int
	replays  int // entries that came by resume
	reopened int // connections
}

const window = 16

// connect opens one connection and returns a channel that closes when it ends.
func (d *device) connect(url string) (<-chan struct{}, error) {
	ended := make(chan struct{})
	conn, _, err := gws.NewClient(&deviceConn{device: d, ended: ended}, &gws.ClientOption{
		Addr:               url,
		HandshakeTimeout:   patience,
		ReadMaxPayloadSize: 16 << 20,
		RequestHeader:      http.Header{"Sec-Websocket-Protocol": {d.encoding.Subprotocol()}},
	})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.conn = conn
	d.byID, d.again = map[uint64]string{}, nil
	d.reopened++
	d.lastOut = godwit.Seq(len(d.log.entries))
	hello := godwit.ClientFrame{ID: d.id(), Kind: godwit.KindConnect}
	hello.Connect.Token, hello.Connect.Device = []byte(d.token), []byte(d.name)
	hello.Connect.Resume = godwit.Resume{Set: true, Epoch: []byte(d.epoch), Seq: d.lastOut}
	d.write(&hello)
	d.mu.Unlock()
	go conn.ReadLoop()
	return ended, nil
}

// deviceConn is one connection's view of its device.
type deviceConn struct {
	gws.BuiltinEventHandler
	device *device
	ended  chan struct{}
}

func (c *deviceConn) OnClose(*gws.Conn, error) { close(c.ended) }

func (c *deviceConn) OnMessage(conn *gws.Conn, message *gws.Message) {
	defer message.Close()
	d := c.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if conn != d.conn {
		return
	}
	for rest := message.Bytes(); len(rest) > 0; {
		frame, left, err := godwit.NextFrame(d.encoding, rest)
		if err != nil {
			d.campaign.violation("%s/%s: unreadable frame: %v", d.user, d.name, err)
			return
		}
		rest = left
		var f godwit.ServerFrame
		if err := f.Parse(d.encoding, frame); err != nil {
			d.campaign.violation("%s/%s: frame does not parse: %v", d.user, d.name, err)
			return
		}
		d.handle(&f)
	}
}

func (d *device) handle(f *godwit.ServerFrame) {
	switch f.Kind {
	case godwit.KindPing:
		d.write(&godwit.ClientFrame{Kind: godwit.KindPing})
	case godwit.KindConnect:
		if !f.Connect.Resumed {
			d.campaign.violation("%s/%s: not resumed from %d: %s", d.user, d.name, d.lastOut, f.Connect.Reason)
		}
		if d.epoch != "" && d.epoch != f.Connect.Epoch {
			d.campaign.violation("%s/%s: the epoch changed from %s to %s", d.user, d.name, d.epoch, f.Connect.Epoch)
		}
		d.epoch = f.Connect.Epoch
		d.replays += int(f.Connect.Missed)
		for _, cid := range d.pending {
			d.sendAs(cid, cid)
		}
		d.fill()
	case godwit.KindEvent:
		d.record(&f.Event)
	case godwit.KindSend:
		d.answered(f.ID, &f.Send)
	case godwit.KindError:
		d.refused(f.ID, &f.Error)
	case godwit.KindSkip:
		d.campaign.violation("%s/%s: unexpected skip %d..%d", d.user, d.name, f.Skip.From, f.Skip.To)
	}
}

// record takes one event; on one connection they must rise by exactly one.
func (d *device) record(e *godwit.Entry) {
	if e.Seq != d.lastOut+1 {
		d.campaign.violation("%s/%s: event %d follows %d on one connection", d.user, d.name, e.Seq, d.lastOut)
	}
	d.lastOut = e.Seq
	d.log.entries = append(d.log.entries, newSeen(e))
	if d.unacked++; d.unacked >= 32 {
		d.unacked = 0
		d.write(&godwit.ClientFrame{Kind: godwit.KindAck, Ack: godwit.Ack{Seq: e.Seq}})
	}
	d.campaign.progress()
}

func newSeen(e *godwit.Entry) seen {
	return seen{
		seq: e.Seq, mid: e.Msg.MID, conv: string(e.Msg.Conv), from: string(e.Msg.From), cid: string(e.Msg.CID),
		time: e.Msg.Time, text: string(e.Msg.Body), canonical: godwit.AppendEvent(nil, godwit.EncodingJSON, e),
	}
}

const (
	probeRepeat   = "repeat:"   // an acked message sent again: must be dup, same sequence
	probeConflict = "conflict:" // its id with another body: must be refused
)

func (d *device) answered(id uint64, reply *godwit.SendReply) {
	cid := d.byID[id]
	delete(d.byID, id)
	switch {
	case strings.HasPrefix(cid, probeConflict):
		d.campaign.violation("%s: cid %s was accepted with another body", d.user, cid)
		return
	case strings.HasPrefix(cid, probeRepeat):
		if cid = strings.TrimPrefix(cid, probeRepeat); !reply.Dup {
			d.campaign.violation("%s: repeated cid %s was stored anew", d.user, cid)
		}
	}
	d.campaign.ack(acked{d.user, cid, reply.Seq, reply.MID, reply.Dup})
	if i := slices.Index(d.pending, cid); i >= 0 {
		d.pending = slices.Delete(d.pending, i, i+1)
		switch rand.IntN(40) {
		case 0:
			d.sendAs(cid, probeRepeat+cid)
		case 1:
			d.sendAs(cid, probeConflict+cid)
		}
	}
	d.fill()
}

func (d *device) refused(id uint64, e *godwit.ErrorReply) {
	cid := d.byID[id]
	delete(d.byID, id)
	switch {
	case strings.HasPrefix(cid, probeConflict) && e.Code == godwit.ErrConflict.Code:
	case e.Temporary && cid != "":
		d.campaign.retry()
		d.later(cid, time.Duration(e.RetryAfterMS)*time.Millisecond)
	case strings.HasPrefix(cid, probeConflict), strings.HasPrefix(cid, probeRepeat):
		d.campaign.violation("%s: probe %s answered %s", d.user, cid, e.Code)
	default:
		d.campaign.violation("%s: request %d (cid %q) refused: %s", d.user, id, cid, e.Code)
	}
}

// later repeats what was refused for now, in its order, once the time has passed
// that the first of them was told.
func (d *device) later(remember string, wait time.Duration) {
	d.again = append(d.again, remember)
	if len(d.again) > 1 {
		return
	}
	conn := d.conn
	time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.conn != conn {
			return
		}
		again := d.again
		d.again = nil
		for _, remember := range again {
			cid := strings.TrimPrefix(strings.TrimPrefix(remember, probeConflict), probeRepeat)
			d.sendAs(cid, remember)
		}
	})
}

// fill composes and sends while the window has room.
func (d *device) fill() {
	for d.sends && len(d.pending) < window {
		cid, ok := d.campaign.compose(d.user)
		if !ok {
			return
		}
		d.pending = append(d.pending, cid)
		d.sendAs(cid, cid)
	}
}

func (d *device) sendAs(cid, remember string) {
	m := d.campaign.message(cid)
	id := d.id()
	d.byID[id] = remember
	f := godwit.ClientFrame{ID: id, Kind: godwit.KindSend}
	f.Send.To, f.Send.CID, f.Send.Text, f.Send.HasText = []byte(m.to), []byte(cid), []byte(m.text), true
	if strings.HasPrefix(remember, probeConflict) {
		f.Send.Text = append([]byte("another body: "), f.Send.Text...)
	}
	d.write(&f)
}

func (d *device) id() uint64 { d.nextID++; return d.nextID }

func (d *device) write(f *godwit.ClientFrame) {
	opcode := gws.OpcodeBinary
	if d.encoding.Text() {
		opcode = gws.OpcodeText
	}
	// A failed write ends the connection, and the read loop notices.
	_ = d.conn.WriteMessage(opcode, f.AppendFrameTo(nil, d.encoding))
}

// state says how far the device is: entries held and sends not yet acked.
func (d *device) state() (entries, unsent int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log.entries), len(d.pending)
}

func (d *device) String() string {
	entries, unsent := d.state()
	return fmt.Sprintf("%s/%s: %d entries, %d unsent", d.user, d.name, entries, unsent)
}

// drop ends the present connection without a close handshake.
func (d *device) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.NetConn().Close()
	}
}
