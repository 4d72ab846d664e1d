package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
	"github.com/godwit-im/godwit/harness/record"
	"github.com/godwit-im/godwit/harness/result"
)

// sdkEvery is the mean time between two messages of a session of the SDK.
const sdkEvery = 500 * time.Millisecond

// sdkGroup drives a few sessions with the Go SDK beside the mass, so that its
// reconnect, resume and deduplication meet the same load and the same checker.
// They write to each other in pairs, as the others do, and are counted apart.
type sdkGroup struct {
	run       uint64
	first     uint32 // number of the first of them; even
	corpus    *Corpus
	now       func() time.Duration
	transport client.Transport
	recorder  *record.Recorder
	shard     *record.Shard
	sessions  []*sdkSession
	changed   chan struct{} // capacity 1: something came or was answered
	reading   sync.WaitGroup
	closing   atomic.Bool

	mu    sync.Mutex
	check *Checker
	found result.SDK
}

// sdkSession is one user's client.
type sdkSession struct {
	user     uint32
	name     string
	partner  string
	client   *client.Client
	start    godwit.Seq
	connects atomic.Uint64 // times it became live or began to replay

	mu    sync.Mutex
	conns []net.Conn // dialled since the last cut
	cuts  int
}

// Positions of the latencies of these sessions; their names stand in the result.
const (
	sdkStored = iota
	sdkDelivered
)

var sdkLatencyNames = []string{"Go SDK: send→stored", "Go SDK: send→delivered"}

func newSDKGroup(run uint64, first uint32, corpus *Corpus, now func() time.Duration, transport string) *sdkGroup {
	recorder, err := record.NewRecorder(record.Config{Latencies: sdkLatencyNames})
	if err != nil {
		panic("BUG: the recorder of the SDK's sessions: " + err.Error())
	}
	return &sdkGroup{
		run: run, first: first, corpus: corpus, now: now, transport: client.Transport(transport), recorder: recorder, shard: recorder.Shard(),
		changed: make(chan struct{}, 1), check: newChecker(run, first, 0),
	}
}

// add makes the client of the next user.
func (g *sdkGroup) add(address, name, partner, token string) error {
	s := &sdkSession{user: g.first + uint32(len(g.sessions)), name: name, partner: partner}
	var dialer net.Dialer
	c, err := client.New(client.Config{
		URL: address, Transport: g.transport, Token: token, Device: deviceName, NoDelivered: true, BackoffMax: 2 * time.Second,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				s.mu.Lock()
				s.conns = append(s.conns, conn)
				s.mu.Unlock()
			}
			return conn, err
		},
		OnState: func(state client.State) {
			if state.Phase == client.Live {
				s.connects.Add(1)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("a session of the SDK: %w", err)
	}
	s.client = c
	g.sessions = append(g.sessions, s)
	return nil
}

// open waits until all are connected and begins to take what comes.
func (g *sdkGroup) open(ctx context.Context) error {
	g.check = newChecker(g.run, g.first, len(g.sessions))
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for _, s := range g.sessions {
		if err := s.client.Connect(ctx); err != nil {
			return fmt.Errorf("a session of the SDK: %w", err)
		}
		s.start = s.client.Position().Seq
		g.check.opened(s.user, s.start)
	}
	for _, s := range g.sessions {
		g.reading.Go(func() { g.receive(s) })
	}
	return nil
}

func (g *sdkGroup) close() {
	g.closing.Store(true)
	for _, s := range g.sessions {
		_ = s.client.Close()
	}
	g.reading.Wait()
}

func (g *sdkGroup) note() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// receive takes what the client hands out until it is closed.
func (g *sdkGroup) receive(s *sdkSession) {
	for item, err := range s.client.Events(context.Background()) {
		g.mu.Lock()
		switch {
		case err != nil && g.closing.Load() && errors.Is(err, client.ErrClosed):
		case err != nil:
			g.check.problem("the SDK of user %d stopped: %v", s.user, err)
		case item.Gap != nil:
			g.check.problem("the SDK of user %d could not continue its log: %s", s.user, item.Gap.Reason)
		case item.Entry.IsSkip():
			g.check.problem("the SDK of user %d was told to skip %d to %d of a log that holds everything", s.user, item.Entry.Seq, item.Entry.SkipTo)
		default:
			h, ok := g.check.received(s.user, &item.Entry)
			if ok && string(item.Entry.Msg.From) != g.sessions[h.Sender-g.first].name {
				g.check.problem("user %d got a message of user %d in the name of %.64q", s.user, h.Sender, item.Entry.Msg.From)
			}
			if ok && h.Sender != s.user {
				g.shard.Record(sdkDelivered, time.Duration(h.Due), g.now())
			}
		}
		g.mu.Unlock()
		g.note()
	}
}

// cutting is a moment at which a connection is cut.
type cutting struct {
	at      time.Duration
	session int
}

// cuttings plans the cuts: at the storm all at once, else one after another
// over the measure stage.
func (g *sdkGroup) cuttings(storm bool, from, to time.Duration) (all []cutting) {
	n := len(g.sessions)
	for i := range g.sessions {
		at := (from + to) / 2
		if !storm {
			at = from + (to-from)*time.Duration(i+1)/time.Duration(n+1)
		}
		all = append(all, cutting{at, i})
	}
	return all
}

// drive sends from base to end and cuts in between. It returns when every
// message was answered, or ctx ended.
func (g *sdkGroup) drive(ctx context.Context, base, end time.Duration, cuts []cutting, seed uint64) {
	var all sync.WaitGroup
	for i, s := range g.sessions {
		all.Go(func() { g.send(ctx, s, base, end, rand.New(rand.NewPCG(seed, uint64(i)+1))) })
	}
	all.Go(func() {
		for _, cut := range cuts {
			if !g.sleep(ctx, cut.at) {
				return
			}
			g.sessions[cut.session].cut()
			g.mu.Lock()
			g.found.Cut++
			g.mu.Unlock()
		}
	})
	all.Wait()
}

// cut ends the connections under the client, as a NAT that forgot them would.
func (s *sdkSession) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	s.conns = nil
	s.cuts++
}

// sleep waits until a time of the run; false: ctx ended first.
func (g *sdkGroup) sleep(ctx context.Context, until time.Duration) bool {
	timer := time.NewTimer(until - g.now())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send submits the session's messages by a Poisson schedule; each is waited for
// beside the next ones.
func (g *sdkGroup) send(ctx context.Context, s *sdkSession, base, end time.Duration, rng *rand.Rand) {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for at := base; ; {
		at += time.Duration(rng.ExpFloat64() * float64(sdkEvery))
		if at >= end || !g.sleep(ctx, at) {
			return
		}
		g.mu.Lock()
		number := g.check.offered(s.user)
		g.found.Offered++
		g.mu.Unlock()
		text := appendPayload(nil, Header{Run: g.run, Sender: s.user, Number: number, Due: int64(at)}, g.corpus.text(s.user, number))
		ticket, err := s.client.Submit(ctx, s.partner, client.Message{Text: string(text)})
		if err != nil {
			g.answered(s, number, err)
			continue
		}
		waiting.Go(func() {
			_, err := ticket.Wait(ctx)
			if err == nil {
				g.shard.Record(sdkStored, at, g.now())
			}
			g.answered(s, number, err)
		})
	}
}

// answered takes what the SDK says of a message's fate.
func (g *sdkGroup) answered(s *sdkSession, number uint32, err error) {
	var refusal *godwit.Error
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.note()
	switch {
	case err == nil:
		g.check.answered(s.user, number, outcomeStored)
	case errors.Is(err, client.ErrUnknown):
		g.found.Unknown++
	case errors.As(err, &refusal) || errors.Is(err, client.ErrNotSent):
		g.found.Refused++
		g.check.answered(s.user, number, outcomeRefused)
	default:
		g.found.Unknown++
		g.check.problem("the SDK of user %d gave up message %d: %v", s.user, number, err)
	}
}

// verify waits for what is owed and reads every history back.
func (g *sdkGroup) verify(ctx context.Context, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !g.settled() {
		select {
		case <-g.changed:
			continue
		case <-ctx.Done():
		}
		break
	}
	reading, stop := context.WithTimeout(context.WithoutCancel(ctx), max(patience, readBackLeast))
	defer stop()
	for _, s := range g.sessions {
		after := s.start
		for e, err := range s.client.History(reading, s.partner, client.Range{Forward: true, After: after}) {
			g.mu.Lock()
			if err != nil {
				g.check.problem("the SDK of user %d could not read back: %v", s.user, err)
			} else {
				g.check.readBack(s.user, after, []godwit.Entry{e})
				after = e.Seq
			}
			g.mu.Unlock()
		}
		g.mu.Lock()
		g.check.readBackEnd(s.user, after)
		g.mu.Unlock()
	}
}

func (g *sdkGroup) settled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.check.found.Delivered >= 2*g.check.found.Acked
}

// finish closes the clients and returns what they did and what was found.
func (g *sdkGroup) finish() (result.SDK, result.Verify) {
	g.close()
	verdict := g.check.finish()
	sdk := g.found
	sdk.Sessions = len(g.sessions)
	sdk.Acked, sdk.Delivered, sdk.ReadBack = verdict.Acked, verdict.Delivered, verdict.ReadBack
	sdk.Transport = string(g.transport)
	for _, s := range g.sessions {
		if g.transport == client.WebSocket {
			sdk.Reconnects += max(s.connects.Load(), 1) - 1
		} else if s.cuts > 0 && len(s.conns) > 0 { // polls go on without a new session
			sdk.Reconnects++
		}
	}
	if sdk.Reconnects < sdk.Cut {
		verdict.Problems = append(verdict.Problems, fmt.Sprintf("of %d connections of the SDK that were cut only %d came back", sdk.Cut, sdk.Reconnects))
	}
	return sdk, verdict
}
