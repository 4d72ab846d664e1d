package chat

import (
	"context"
	"strings"
	"sync"

	"github.com/godwit-im/godwit"
)

// Hook is asked about each message before it is stored, and about each edit. Its
// methods may be called from any goroutine.
type Hook interface {
	// BeforeSend blocks until there is a verdict, which is at the latest when its
	// time is up.
	BeforeSend(ctx context.Context, m *Outgoing) Verdict
	// Skip is the verdict on a message that it could not be asked about.
	Skip() Verdict
}

// Outgoing is a message that is about to be stored, or the body that is about to take
// another's place. Its fields alias the request.
type Outgoing struct {
	From godwit.UserID
	Conv godwit.ConversationID // as the sender sees it
	CID  []byte                // of an edit: that of the message
	MID  []byte                // of the message that is edited; nil: it is a new one
	Type []byte
	Body []byte
	Text bool // Body is UTF-8 text
}

func (b *block) outgoing() *Outgoing {
	return &Outgoing{
		From: b.sender(), Conv: stringOf[godwit.ConversationID](b.to),
		CID: b.cid, Type: b.typ, Body: b.body, Text: b.text,
	}
}

// Verdict is what becomes of a message. One that is not allowed is refused with
// Message, if there is one; one without a verdict, Failed, as unavailable.
type Verdict struct {
	Allow   bool
	Failed  bool
	Message string
}

// gated is a message or an edit that is looked at before it is proposed.
type gated interface {
	asked() *request
	// outgoing is what the hook is shown; it may block until ctx is done. It is not ok
	// if the request was answered instead.
	outgoing(ctx context.Context) (out *Outgoing, ok bool)
	// release proposes it; granted: its sender may start the conversation.
	release(granted bool)
	// drop lets go of it: it was answered already.
	drop()
}

// gate holds messages and edits while the hook is asked, and while it is looked up
// whether senders of messages may start a conversation. What comes of one sender passes
// one after the other, in its order; senders take turns.
//
// At most hookQueueMax of them wait. Of what comes then the hook's verdict is
// Skip; a sender some of whose messages wait is refused as unavailable, and so is
// everybody where the policy has conversations looked at.
type gate struct {
	service *Service
	lines   chan *gateLine // with work and no worker: each at most once, so a send to it never blocks

	mu      sync.Mutex
	waiting int
	senders map[godwit.UserID]*gateLine
	known   map[string]struct{} // conversations, sender NUL recipient, that have begun
}

// gateLine is what waits of one sender. It is in gate.senders while it has any.
type gateLine struct {
	user  godwit.UserID
	items []gated
}

// knownMax bounds the conversations that are known to have begun; a full table is
// emptied.
const knownMax = 1 << 16

func newGate(s *Service) *gate {
	return &gate{
		service: s, lines: make(chan *gateLine, s.cfg.HookQueueMax),
		senders: map[godwit.UserID]*gateLine{}, known: map[string]struct{}{},
	}
}

func (g *gate) isUsed() bool {
	return g.service.cfg.Hook != nil || g.service.cfg.Policy.WhoMayStart != "all"
}

// asksHook tells whether the hook is asked about what that session sends.
func (g *gate) asksHook(session godwit.SessionID) bool {
	return g.service.cfg.Hook != nil && !isOperator(session)
}

// looksAt tells whether messages of that session have to pass the gate.
func (g *gate) looksAt(session godwit.SessionID) bool { return g.isUsed() && !isOperator(session) }

// enter takes a message whose deadline runs, or answers it at once.
func (g *gate) enter(user godwit.UserID, m gated) {
	s := g.service
	g.mu.Lock()
	line := g.senders[user]
	if g.waiting >= s.cfg.HookQueueMax {
		g.mu.Unlock()
		verdict := Verdict{Failed: true}
		if line == nil && s.cfg.Policy.WhoMayStart == "all" {
			verdict = s.cfg.Hook.Skip()
		}
		g.pass(m, verdict, false)
		return
	}
	g.waiting++
	if line == nil {
		user = godwit.UserID(strings.Clone(string(user)))
		line = &gateLine{user: user}
		g.senders[user] = line
		g.lines <- line
	}
	line.items = append(line.items, m)
	g.mu.Unlock()
}

// run decides until the service stops. Calls under way are then given up.
func (g *gate) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var deciding sync.WaitGroup
	if g.isUsed() {
		for range g.service.cfg.HookCalls {
			deciding.Go(func() { g.decide(ctx) })
		}
	}
	<-g.service.stop
	cancel()
	deciding.Wait()
}

// decide is one of the gate's goroutines.
func (g *gate) decide(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case line := <-g.lines:
			g.mu.Lock()
			m := line.items[0]
			g.mu.Unlock()
			g.look(ctx, m)
			g.mu.Lock()
			g.waiting--
			line.items[0] = nil
			if line.items = line.items[1:]; len(line.items) == 0 {
				delete(g.senders, line.user)
			} else {
				g.lines <- line
			}
			g.mu.Unlock()
		}
	}
}

// look decides about one message.
func (g *gate) look(ctx context.Context, m gated) {
	out, ok := m.outgoing(ctx)
	if !ok {
		m.drop()
		return
	}
	granted, refusal := g.mayStart(ctx, out)
	if refusal != nil {
		g.refuse(m, refusal, "")
		return
	}
	verdict := Verdict{Allow: true}
	if g.service.cfg.Hook != nil {
		verdict = g.service.cfg.Hook.BeforeSend(ctx, out)
	}
	g.pass(m, verdict, granted)
}

// pass carries out a verdict. Until now the request could only expire without an
// effect; from its release on nobody knows until it is answered.
func (g *gate) pass(m gated, verdict Verdict, granted bool) {
	switch {
	case verdict.Failed:
		g.refuse(m, godwit.ErrUnavailable, "")
	case !verdict.Allow:
		g.refuse(m, godwit.ErrRefused, verdict.Message)
	case g.service.deadlines.become(m.asked(), requestSend):
		m.release(granted)
	default:
		m.drop()
	}
}

func (g *gate) refuse(m gated, e *godwit.Error, message string) {
	s, r := g.service, m.asked()
	if s.deadlines.claim(r) {
		if message != "" {
			own := *e
			own.Message = message
			e = &own
		}
		s.refuse(r.session, r.id, e)
	}
	m.drop()
}

// mayStart tells whether the sender may start the conversation of a message. What
// is no start, as an edit, or what everybody may start, needs no grant.
func (g *gate) mayStart(ctx context.Context, m *Outgoing) (granted bool, refusal *godwit.Error) {
	s := g.service
	to := godwit.UserID(strings.TrimPrefix(string(m.Conv), "u:"))
	if s.cfg.Policy.WhoMayStart == "all" || m.MID != nil || strings.HasPrefix(string(m.Conv), "g:") || to == m.From {
		return false, nil
	}
	pair := string(m.From) + "\x00" + string(to)
	g.mu.Lock()
	_, known := g.known[pair]
	g.mu.Unlock()
	if known {
		return false, nil
	}
	begun, err := g.lookUp(ctx, m.From, func(v View) bool {
		_, ok := v.Get(appendConversationKey(nil, m.From.Partition(), bytesOf(m.From), bytesOf(to)))
		return ok
	})
	switch {
	case err != nil:
		return false, godwit.ErrUnavailable
	case begun:
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.known) >= knownMax {
			clear(g.known)
		}
		g.known[pair] = struct{}{}
		return false, nil
	case s.cfg.Policy.WhoMayStart == "none":
		return false, godwit.ErrNotMember
	}
	contact, err := g.lookUp(ctx, to, func(v View) bool { return isContact(v, bytesOf(to), bytesOf(m.From)) })
	switch {
	case err != nil:
		return false, godwit.ErrUnavailable
	case !contact:
		return false, godwit.ErrNotMember
	}
	return true, nil
}

// forget drops what is known of begun conversations: some have ended.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.known)
}

// lookUp reads in the group of a user, after all that was acknowledged before.
func (g *gate) lookUp(ctx context.Context, user godwit.UserID, look func(v View) bool) (found bool, err error) {
	store := g.service.cfg.Store
	group := store.Group(user.Partition())
	done := make(chan error, 1)
	store.ReadIndex(group, func(err error) { done <- err })
	if err := await(ctx, done); err != nil {
		return false, err
	}
	v := store.View(group)
	defer v.Close()
	found = look(v)
	return found, v.Err()
}
