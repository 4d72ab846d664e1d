package chat

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
)

// Service answers the edge. Its methods may be called from any goroutine and do
// not block, but for Start and Close.
type Service struct {
	cfg       Config
	deadlines *deadlines
	senders   senders
	groupRate senders // keyed by group
	lookers   senders // counts the users they ask for
	typists   typists
	forwarder *forwarder
	changes   *changes
	marks     marks
	fanouts   *fanouts
	gate      *gate
	retention *retention
	channels  channels
	sessions  sessions
	logouts   logouts
	// groupNames are what pointers in users' logs lead to.
	groupNames groupNames
	calls      *calls // also cfg.Edge
	counters   counters
	sends      sync.Pool // *sendRequest
	gsends     sync.Pool // *groupSendRequest
	tasks      tasks     // requests about groups
	frames     sync.Pool // *godwit.ServerFrame, for refusals

	// Set by Start before ready, read only after.
	epochs []string // per group, as clients see them
	ids    atomic.Pointer[messageIDs]
	ready  atomic.Bool

	reads    chan *read   // as long as Config.ReadQueueMax: a send to it never blocks
	reading  atomic.Int64 // reads accepted and not yet done
	looks    chan *look
	warming  chan godwit.UserID
	stop     chan struct{}
	stopOnce sync.Once
	running  sync.WaitGroup
}

// NewService joins a machine and its surroundings. Requests are refused as
// unavailable until Start has returned.
func NewService(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Service{
		cfg:       cfg,
		deadlines: newDeadlines(uint64(time.Duration(cfg.AnswerSeconds) * time.Second / TickInterval)),
		reads:     make(chan *read, cfg.ReadQueueMax),
		looks:     make(chan *look, looksMax),
		warming:   make(chan godwit.UserID, warmQueueMax),
		stop:      make(chan struct{}),
	}
	s.calls = newCalls(cfg.Edge)
	s.cfg.Edge = s.calls
	s.senders.perS, s.groupRate.perS = uint32(cfg.UserSendPerS), uint32(cfg.GroupSendPerS)
	s.lookers.perS = looksPerS
	s.sends.New = func() any { return &sendRequest{service: s} }
	s.gsends.New = func() any { return &groupSendRequest{service: s} }
	s.frames.New = func() any { return new(godwit.ServerFrame) }
	s.channels.init(s)
	s.sessions.init(s)
	s.logouts.init()
	s.forwarder = newForwarder(&s.cfg, &s.counters)
	s.changes = newChanges(s)
	s.marks.service = s
	s.fanouts = newFanouts(s)
	s.gate = newGate(s)
	s.retention = newRetention(s)
	cfg.Machine.service = s
	return s, nil
}

// Start writes the settings of a new cluster, reads them of an old one, loads
// the outbox and begins to serve. The store must be running.
func (s *Service) Start(ctx context.Context) error {
	all, err := s.loadSettings(ctx)
	if err != nil {
		return err
	}
	ids, err := newMessageIDs(all[0].messageKey)
	if err != nil {
		return fmt.Errorf("chat: message ids: %w", err)
	}
	for g := range all {
		s.epochs = append(s.epochs, base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, all[g].epoch)))
	}
	s.ids.Store(&ids)
	if err := s.forwarder.load(all); err != nil {
		return err
	}
	if err := s.fanouts.load(all); err != nil {
		return err
	}
	for range fanWorkers {
		s.running.Go(s.fanouts.run)
	}
	for range s.cfg.ReadWorkers {
		s.running.Go(s.readLoop)
	}
	for range changeWorkers {
		s.running.Go(s.changes.run)
	}
	for range lookWorkers {
		s.running.Go(s.lookLoop)
	}
	s.running.Go(s.warmLoop)
	for _, tasks := range s.channels.tasks {
		s.running.Go(func() { s.channels.loop(tasks) })
	}
	s.running.Go(s.gate.run)
	s.running.Go(s.retention.run)
	s.running.Go(s.forwarder.run)
	s.running.Go(s.tickLoop)
	s.ready.Store(true)
	return nil
}

// Close answers what is waiting, ends all goroutines and returns when they have
// ended. What was proposed may still be applied; nobody is told.
func (s *Service) Close() {
	s.stopOnce.Do(func() {
		s.ready.Store(false)
		s.expire(s.deadlines.close(nil))
		close(s.stop)
		s.forwarder.close()
		s.fanouts.close()
	})
	s.tasks.close()
	s.running.Wait()
}

// tickLoop is the only clock of the service.
func (s *Service) tickLoop() {
	ticks := s.cfg.Ticks
	if ticks == nil {
		t := time.NewTicker(TickInterval)
		defer t.Stop()
		ticks = t.C
	}
	var due []request
	for {
		select {
		case <-s.stop:
			return
		case <-ticks:
		}
		due = s.deadlines.tick(due[:0])
		s.counters.late.Add(uint64(len(due)))
		s.expire(due)
		s.senders.tick()
		s.groupRate.tick()
		s.lookers.tick()
		s.typists.tick()
		s.forwarder.tick()
		s.retention.tick()
		s.marks.tick()
		s.fanouts.tick()
	}
}

// expire answers requests whose result did not come in time.
func (s *Service) expire(due []request) {
	for i := range due {
		s.fail(&due[i], godwit.ErrUnavailable)
	}
}

// fail answers a claimed request with an error. A send in doubt is unknown; a
// read has no effect and is merely not answered.
func (s *Service) fail(r *request, e *godwit.Error) {
	if r.gone != nil {
		close(r.gone)
	}
	switch r.what {
	case requestSend:
		s.refuse(r.session, r.id, godwit.ErrUnknown)
	case requestRead:
		s.refuse(r.session, r.id, e)
	case requestConnect:
		s.cfg.Edge.Close(r.session, godwit.CloseOverloaded, e.Code)
	case requestFetch:
		s.cfg.Edge.Fetched(r.session, nil, 0, e)
	case requestStored:
		s.fanouts.expired(r.stored)
	case requestTrim:
	}
}

// refuse answers a request with an error.
func (s *Service) refuse(session godwit.SessionID, id uint64, e *godwit.Error) {
	s.refuseFor(session, id, e, retryAfter(e))
}

func (s *Service) refuseFor(session godwit.SessionID, id uint64, e *godwit.Error, retryAfterMS uint32) {
	s.counters.refused.Add(1)
	f := s.frames.Get().(*godwit.ServerFrame)
	*f = godwit.ServerFrame{ID: id, Kind: godwit.KindError, Error: e.Reply(retryAfterMS)}
	s.cfg.Edge.Reply(session, f)
	s.frames.Put(f)
}

// Request serves what a client asks; the answer
// comes by Edge.Reply, once. frame may be reused when it returns.
func (s *Service) Request(session godwit.SessionID, user godwit.UserID, frame *godwit.ClientFrame) {
	switch {
	case !s.ready.Load():
		s.refuse(session, frame.ID, godwit.ErrUnavailable)
		return
	case !godwit.ValidID(user):
		s.refuse(session, frame.ID, godwit.ErrBadUser)
		return
	}
	if e := s.sessions.ended(session, user); e != nil {
		if frame.ID != 0 || frame.Kind != godwit.KindMark && frame.Kind != godwit.KindTyping {
			s.refuse(session, frame.ID, e)
		}
		return
	}
	switch frame.Kind {
	case godwit.KindSend:
		s.send(session, user, frame.ID, &frame.Send)
	case godwit.KindSync:
		s.sync(session, user, frame.ID, &frame.Sync)
	case godwit.KindHistory:
		s.history(session, user, frame.ID, &frame.History)
	case godwit.KindConversations:
		s.conversations(session, user, frame.ID, &frame.Conversations)
	case godwit.KindPresence:
		s.presence(session, user, frame.ID, &frame.Presence)
	case godwit.KindTyping:
		s.typing(session, user, frame.ID, &frame.Typing)
	case godwit.KindDevice:
		s.device(session, user, frame.ID, &frame.Device)
	case godwit.KindBlock:
		s.people(session, user, frame.ID, &frame.Block, listBlocked)
	case godwit.KindContact:
		s.people(session, user, frame.ID, &frame.Contact, listContacts)
	case godwit.KindGroup:
		s.group(session, user, frame.ID, &frame.Group)
	case godwit.KindMark:
		s.mark(session, user, frame.ID, &frame.Mark)
	case godwit.KindEdit:
		s.edit(session, user, frame.ID, &frame.Edit)
	case godwit.KindRecall:
		s.recall(session, user, frame.ID, &frame.Recall)
	case godwit.KindConversation:
		s.changeConversation(session, user, frame.ID, &frame.Conversation)
	default:
		s.refuse(session, frame.ID, godwit.ErrUnsupported)
	}
}

// loadSettings returns the settings of every group. Groups that have none get
// group 0's, and that, on the first start of all, new ones.
func (s *Service) loadSettings(ctx context.Context) ([]settings, error) {
	groups := s.cfg.Store.Groups()
	all := make([]settings, groups)
	raised := false
	for g := range groups {
		st, ok, err := s.readSettings(ctx, g)
		raised = raised || st.level < levelMax
		if err == nil && !ok {
			if g == 0 {
				st, err = s.newSettings()
			} else {
				st = all[0]
			}
			if err == nil {
				c := genesisCommand{settings: st}
				st, err = s.propose(ctx, g, c.append(nil, homeOf(g, groups)))
			}
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("chat: settings of group %d: %w", g, err)
		case int(st.groups) != groups:
			return nil, fmt.Errorf("chat: the data is of %d groups, the store has %d", st.groups, groups)
		case st.messageKey != all[0].messageKey && g > 0:
			return nil, fmt.Errorf("chat: groups 0 and %d belong to different clusters", g)
		}
		all[g] = st
	}
	if err := s.setPolicy(ctx, all); err != nil {
		return nil, err
	}
	if raised {
		if err := s.refuseEarlier(); err != nil {
			return nil, err
		}
	}
	return all, s.beginEpoch(ctx, all)
}

// refuseEarlier keeps programs of an earlier level from the data: nothing was
// acknowledged yet that they would lose.
func (s *Service) refuseEarlier() error {
	if s.cfg.Checkpoint == nil {
		return nil
	}
	if err := s.cfg.Checkpoint(); err != nil {
		return fmt.Errorf("chat: write a new level down: %w", err)
	}
	return nil
}

// setPolicy raises groups of an earlier release to this one's level, and makes
// the configured policy theirs.
func (s *Service) setPolicy(ctx context.Context, all []settings) (err error) {
	c := policyCommand{level: levelMax, policy: s.cfg.Policy.replicated()}
	for g := range all {
		if all[g].level >= c.level && all[g].policy == c.policy {
			continue
		}
		if all[g], err = s.propose(ctx, g, c.append(nil, homeOf(g, len(all)))); err != nil {
			return fmt.Errorf("chat: set the policy of group %d: %w", g, err)
		}
	}
	return nil
}

// beginEpoch tells the groups of a restored store, before anything is sent, that
// what they number now is not what had these numbers before.
func (s *Service) beginEpoch(ctx context.Context, all []settings) (err error) {
	if s.cfg.Restored == nil || s.cfg.Restored() == 0 {
		return nil
	}
	c := restoreCommand{epoch: s.cfg.Restored()}
	for g := range all {
		if all[g].epoch == c.epoch {
			continue
		}
		if all[g], err = s.propose(ctx, g, c.append(nil, homeOf(g, len(all)))); err != nil {
			return fmt.Errorf("chat: begin an epoch in group %d: %w", g, err)
		}
		if all[g].epoch != c.epoch {
			return fmt.Errorf("chat: group %d has left the epoch of this restore", g)
		}
	}
	return nil
}

func (s *Service) newSettings() (settings, error) {
	st := settings{
		level: levelMax, groups: uint32(s.cfg.Store.Groups()),
		dedupSends:       uint32(s.cfg.Genesis.DedupSends),
		dedupWindowMS:    uint64(s.cfg.Genesis.DedupWindow / time.Millisecond),
		conversationsMax: uint32(s.cfg.Genesis.ConversationsMax),
		policy:           s.cfg.Policy.replicated(),
	}
	var epoch [8]byte
	if _, err := io.ReadFull(s.cfg.Random, epoch[:]); err != nil {
		return st, fmt.Errorf("random epoch: %w", err)
	}
	st.epoch = binary.BigEndian.Uint64(epoch[:]) | 1 // never 0
	if _, err := io.ReadFull(s.cfg.Random, st.messageKey[:]); err != nil {
		return st, fmt.Errorf("random key: %w", err)
	}
	return st, nil
}

// propose runs a command that sets settings and returns what the group then has:
// another node's may have come first.
func (s *Service) propose(ctx context.Context, group int, command []byte) (settings, error) {
	w := make(settingsWaiter, 1)
	if err := s.cfg.Store.Propose(group, command, w); err != nil {
		return settings{}, err
	}
	if err := await(ctx, w); err != nil {
		return settings{}, err
	}
	st, ok, err := s.readSettings(ctx, group)
	if err == nil && !ok {
		panic("BUG: a group was set up and has no settings")
	}
	return st, err
}

func (s *Service) readSettings(ctx context.Context, group int) (st settings, ok bool, err error) {
	done := make(chan error, 1)
	s.cfg.Store.ReadIndex(group, func(err error) { done <- err })
	if err := await(ctx, done); err != nil {
		return st, false, err
	}
	v := s.cfg.Store.View(group)
	defer v.Close()
	row, ok := v.Get(appendKey(nil, homeOf(group, s.cfg.Store.Groups()), rowSettings))
	if !ok {
		return st, false, v.Err()
	}
	if st, ok = parseSettings(row); !ok {
		return st, false, errors.New("settings row does not parse")
	}
	return st, true, nil
}

func await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settingsWaiter gets the answer to one command.
type settingsWaiter chan error

func (w settingsWaiter) Fail(err error) { w <- err }

func (w settingsWaiter) applied(o *outcome, _ *flushScratch) {
	if o.refusal != nil {
		w <- o.refusal
		return
	}
	w <- nil
}
