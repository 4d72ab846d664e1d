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
	frame []byte
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
	p.outbound = append(p.outbound, command{f.ID, frame})
	p.bytes += len(frame)
	nudge(p.wakePost)
	return nil
}

// batch takes the commands of the next POST, as many as fit.
func (p *poller) batch() (taken []command, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
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

// waiting takes every command that no POST has carried yet: what follows a refused
// one must not overtake it.
func (p *poller) waiting() []command {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.outbound
	p.outbound, p.bytes = nil, 0
	return all
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
		frames, err := p.post(ctx, commands, body)
		if len(frames) > 0 && !p.tell(event{frames: frames}) {
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
func (p *poller) post(ctx context.Context, commands []command, body []byte) ([]godwit.ServerFrame, error) {
	p.mu.Lock()
	q := url.Values{"device": {string(p.connect.Device)}}
	p.mu.Unlock()
	status, header, answer, err := p.do(ctx, http.MethodPost, "rpc", q, body, p.cfg.OpenTimeout+rpcMargin)
	if status != 0 && status != http.StatusOK {
		refused := statusError("rpc", status, header, answer)
		var reply *refusedWhole
		if errors.As(refused.err, &reply) && reply.Temporary {
			return reply.each(append(commands, p.waiting()...), refused.reason), nil
		}
		return nil, refused.later()
	}
	frames, err := p.read(answer, err)
	if err != nil {
		return frames, err
	}
	open := make(map[uint64]struct{}, len(commands))
	for _, c := range commands {
		open[c.id] = struct{}{}
	}
	for i := range frames {
		delete(open, frames[i].ID)
	}
	if len(open) > 0 {
		return frames, errUnanswered
	}
	return frames, nil
}

// refusedWhole is an error frame that answers a whole request.
type refusedWhole struct{ godwit.ErrorReply }

// Error returns the code.
func (e *refusedWhole) Error() string { return refusal(&e.ErrorReply).Error() }

// Unwrap makes the sentinel of the code known to errors.Is.
func (e *refusedWhole) Unwrap() error { return refusal(&e.ErrorReply) }

// each refuses every command of a POST that was refused for a while.
func (e *refusedWhole) each(commands []command, reason closeReason) (frames []godwit.ServerFrame) {
	for _, c := range commands {
		f := godwit.ServerFrame{ID: c.id, Kind: godwit.KindError, Error: e.ErrorReply}
		f.Error.RetryAfterMS = reason.RetryAfterMS
		frames = append(frames, f)
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
