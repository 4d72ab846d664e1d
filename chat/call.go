package chat

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/godwit-im/godwit"
)

// calls are requests made within the process, by the operator, in the name of a
// user. They pass the same way as a client's: each has a session of its own, of an
// edge that no process has, and the answer is caught on its way to the edge.
type calls struct {
	Edge    // of everybody else
	numbers atomic.Uint64
	mu      sync.Mutex
	waiting map[godwit.SessionID]chan<- []byte
}

// Sessions of calls: the index of an edge that is none, and a bit that tells the
// operator, who needs no role in a group, from one who only speaks for a user.
const (
	callSessions    = godwit.SessionID(godwit.SessionEdgeMax) << godwit.SessionEdgeShift
	operatorSession = godwit.SessionID(1) << (godwit.SessionEdgeShift - 1)
)

func isCall(s godwit.SessionID) bool { return s&callSessions == callSessions }

// isOperator tells whether a request is the operator's own: roles, rates and who
// may start a conversation do not bind him.
func isOperator(s godwit.SessionID) bool { return isCall(s) && s&operatorSession != 0 }

func newCalls(edge Edge) *calls {
	return &calls{Edge: edge, waiting: map[godwit.SessionID]chan<- []byte{}}
}

// Reply catches the answers to calls. They are encoded, so that what the caller
// gets aliases nothing.
func (c *calls) Reply(s godwit.SessionID, f *godwit.ServerFrame) {
	if !isCall(s) {
		c.Edge.Reply(s, f)
		return
	}
	c.mu.Lock()
	answer := c.waiting[s]
	delete(c.waiting, s)
	c.mu.Unlock()
	if answer != nil {
		answer <- f.AppendTo(nil, godwit.EncodingProto) // has room for one
	}
}

// Call makes a request in the name of a user and returns its reply, of which
// nothing is shared. A refusal is returned as a *godwit.Error. operator lets it
// pass what binds users alone: roles in groups, rates, who may start a
// conversation. Any goroutine may call; it returns at the latest with ctx, and
// then it is not known what was done.
func (s *Service) Call(ctx context.Context, user godwit.UserID, f *godwit.ClientFrame, operator bool) (*godwit.ServerFrame, error) {
	session := callSessions | godwit.SessionID(s.calls.numbers.Add(1))&(operatorSession-1)
	if operator {
		session |= operatorSession
	}
	answer := make(chan []byte, 1)
	s.calls.mu.Lock()
	s.calls.waiting[session] = answer
	s.calls.mu.Unlock()
	frame := *f
	frame.ID = 1
	s.Request(session, user, &frame)
	select {
	case <-ctx.Done():
		s.calls.mu.Lock()
		delete(s.calls.waiting, session)
		s.calls.mu.Unlock()
		return nil, ctx.Err()
	case reply := <-answer:
		out := new(godwit.ServerFrame)
		if err := out.Parse(godwit.EncodingProto, reply); err != nil {
			return nil, err
		}
		if out.Kind == godwit.KindError {
			if e := godwit.ErrorOf(out.Error.Code); e != nil {
				return nil, e
			}
			return nil, godwit.ErrInternal
		}
		return out, nil
	}
}
