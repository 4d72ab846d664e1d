package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/godwit-im/godwit"
)

// command is one encoded frame that waits for a POST.
type command struct {
	id    uint64
	send  bool
	frame []byte
}

// held says that the last POST was refused for a while, as a whole or a send of
// it. What was written later must not overtake that, and only the loop knows when
// it has heard: until then it may write more.
type held struct {
	reply godwit.ErrorReply
	whole bool // commands of all kinds wait, not only sends
}

// prefixMax is what joining a frame to a message adds: a newline or a length.
const prefixMax = 5

// rpcMargin is what a POST may take beyond OpenTimeout: the server answers every
// command within 5 s.
const rpcMargin = 10 * time.Second

// enqueueLocked holds p.mu.
func (p *poller) enqueueLocked(f *godwit.ClientFrame) error {
	if p.bytes > outboundBytesMax {
		return errNotReading
	}
	frame := f.AppendTo(nil, p.encoding)
	if len(frame)+prefixMax > p.messages {
		return godwit.ErrTooLarge
	}
	p.outbound = append(p.outbound, command{f.ID, f.Kind == godwit.KindSend, frame})
	p.bytes += len(frame)
	nudge(p.wakePost)
	return nil
}

// batch takes the commands of the next POST, as many as fit; none while the
// poller is held.
func (p *poller) batch() (taken []command, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		return nil, nil
	}
	n := 0
	for ; n < len(p.outbound) && n < p.commands; n++ {
		if len(body)+len(p.outbound[n].frame)+prefixMax > p.messages {
			break
		}
		body = godwit.AppendFrame(body, p.encoding, p.outbound[n].frame)
		p.bytes -= len(p.outbound[n].frame)
	}
	taken = p.outbound[:n:n]
	if p.outbound = p.outbound[n:]; len(p.outbound) == 0 {
		p.outbound = nil
	}
	return taken, body
}

func (p *poller) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = true
}

// release takes the commands that no POST has carried, all or the sends among
// them, and lets the poller post again. The loop calls it, so that nothing is
// written between the two.
func (p *poller) release(all bool) (taken []command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.outbound[:0]
	for _, c := range p.outbound {
		if all || c.send {
			taken = append(taken, c)
			p.bytes -= len(c.frame)
		} else {
			kept = append(kept, c)
		}
	}
	p.outbound, p.held = kept, false
	nudge(p.wakePost)
	return taken
}

// postLoop posts what was queued while the last POST was under way. One at a
// time: two could overtake each other, and sends keep the order of Submit.
func (p *poller) postLoop(ctx context.Context) {
	for {
		commands, body := p.batch()
		if len(commands) == 0 {
			select {
			case <-p.wakePost:
				continue
			case <-p.gone:
				return
			}
		}
		frames, h, err := p.post(ctx, commands, body)
		if h != nil {
			p.hold()
		}
		if len(frames) > 0 && !p.tell(event{frames: frames, held: h}) {
			return
		}
		if err != nil {
			p.tell(event{err: err})
			return
		}
	}
}

var errUnanswered = errors.New("client: the server left a command without an answer")

// post is one POST. With an error the frames that came are returned, too.
func (p *poller) post(ctx context.Context, commands []command, body []byte) ([]godwit.ServerFrame, *held, error) {
	p.mu.Lock()
	q := url.Values{"device": {string(p.connect.Device)}}
	p.mu.Unlock()
	status, header, answer, err := p.do(ctx, http.MethodPost, "rpc", q, body, p.cfg.OpenTimeout+rpcMargin)
	if status != 0 && status != http.StatusOK {
		refused := statusError("rpc", status, header, answer)
		var reply *refusedWhole
		if errors.As(refused.err, &reply) && reply.Temporary {
			reply.RetryAfterMS = refused.reason.RetryAfterMS
			return reply.each(commands), &held{reply: reply.ErrorReply, whole: true}, nil
		}
		return nil, nil, refused.later()
	}
	frames, err := p.read(answer, err)
	if err != nil {
		return frames, nil, err
	}
	open := make(map[uint64]bool, len(commands)) // whether it is a send
	for _, c := range commands {
		open[c.id] = c.send
	}
	var h *held
	for i := range frames {
		f := &frames[i]
		if h == nil && open[f.ID] && f.Kind == godwit.KindError && f.Error.Temporary {
			h = &held{reply: f.Error}
		}
		delete(open, f.ID)
	}
	if len(open) > 0 {
		return frames, nil, errUnanswered
	}
	return frames, h, nil
}

// refusedWhole is an error frame that answers a whole request.
type refusedWhole struct{ godwit.ErrorReply }

// Error returns the code.
func (e *refusedWhole) Error() string { return refusal(&e.ErrorReply).Error() }

// Unwrap makes the sentinel of the code known to errors.Is.
func (e *refusedWhole) Unwrap() error { return refusal(&e.ErrorReply) }

// each refuses every command of a POST that was refused for a while.
func (e *refusedWhole) each(commands []command) (frames []godwit.ServerFrame) {
	for _, c := range commands {
		frames = append(frames, godwit.ServerFrame{ID: c.id, Kind: godwit.KindError, Error: e.ErrorReply})
	}
	return frames
}

// later is the refusal of a session that had been granted: only a Godwit server
// may end it for good, not what a proxy makes of a request.
func (e *attemptError) later() *attemptError {
	var reply *refusedWhole
	if e.remedy == giveUp && !errors.As(e.err, &reply) {
		e.remedy = backOff
	}
	return e
}

// statusError is what an answer other than 200 means. The body is the server's
// error frame in JSON, or whatever a proxy says.
func statusError(name string, status int, header http.Header, body []byte) *attemptError {
	e := &attemptError{remedy: remedyOfStatus(status), reason: retryAfterSeconds(header), status: status}
	e.err = fmt.Errorf("%s: %s", name, http.StatusText(status))
	var f godwit.ServerFrame
	if f.Parse(godwit.EncodingJSON, body) == nil && f.Kind == godwit.KindError {
		e.reason.RetryAfterMS = max(e.reason.RetryAfterMS, f.Error.RetryAfterMS)
		e.err = fmt.Errorf("%s: %d: %w", name, status, &refusedWhole{f.Error})
	}
	return e
}
