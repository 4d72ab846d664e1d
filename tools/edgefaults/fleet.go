package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
	"github.com/godwit-im/godwit/harness/load"
)

// fleet is the clients: one session of the SDK for each user.
type fleet struct {
	check    *checker
	planted  *planted
	loopback bool // clients come from addresses of their own on this machine
	assign   bool // clients ask which edge they should use
	minter   *load.Minter
	users    []*user

	mu     sync.Mutex
	edges  []edge    // where clients can go
	delays []float64 // of deliveries in ms, since the last look
	ended  []string  // sessions that stopped for good, and why

	offered   atomic.Int64 // messages, since the last look
	acked     atomic.Int64
	delivered atomic.Int64

	running  sync.WaitGroup     // who listens
	stop     context.CancelFunc // ends them
	sending  sync.WaitGroup     // messages without an answer, and who makes them
	sendings context.CancelFunc // ends who makes them
}

// edge is where clients find an edge process.
type edge struct{ name, address string }

// loadBalancer is the host that clients are told of. Their dialer does what a
// balancer does: it takes the user's own edge, or the next one that answers.
const loadBalancer = "edges.invalid:80"

// dialPatience is when the balancer takes an edge for dead that does not answer.
const dialPatience = 2 * time.Second

func newFleet(sessions int, edges []edge, secret []byte, loopback bool, plant string) *fleet {
	f := &fleet{check: newChecker(sessions + sessions%2), edges: edges, loopback: loopback}
	f.minter = load.NewMinter(secret, time.Now().Add(24*time.Hour))
	f.planted = &planted{what: plant, check: f.check}
	return f
}

// connectors is how many sessions are opened at once.
const connectors = 64

// connect opens the sessions and returns when all are there.
func (f *fleet) connect(ctx context.Context) error {
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	f.users = make([]*user, len(f.check.users))
	for i := range f.users {
		f.users[i] = f.user(i)
	}
	var next atomic.Int64
	errs := make(chan error, connectors)
	for range connectors {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(f.users) {
					errs <- nil
					return
				}
				u := f.users[i]
				if err := u.open(ctx); err != nil {
					errs <- err
					return
				}
				f.running.Go(func() { u.listen(listening) })
			}
		}()
	}
	var err error
	for range connectors {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (f *fleet) user(number int) *user {
	name := fmt.Sprint("user-", number)
	return &user{fleet: f, number: number, name: name, token: string(f.minter.AppendToken(nil, []byte(name)))}
}

// edgesFor lists the edges in the order in which a balancer tries them for a user.
func (f *fleet) edgesFor(number int) []edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := number % len(f.edges)
	return slices.Concat(f.edges[own:], f.edges[:own])
}

// send has random users write to their partners, so many a second, until halt.
func (f *fleet) send(ctx context.Context, rate float64) {
	sending, halt := context.WithCancel(ctx)
	f.sendings = halt
	f.sending.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		begun, sent := time.Now(), 0
		for {
			select {
			case <-sending.Done():
				return
			case <-tick.C:
			}
			for due := int(time.Since(begun).Seconds() * rate); sent < due; sent++ {
				f.users[rand.IntN(len(f.users))].send(ctx)
			}
		}
	})
}

// halt ends the making of messages.
func (f *fleet) halt() { f.sendings() }

// settle waits until every message is answered and every promised delivery came, or
// until nothing has come for a while: what is missing then is lost.
func (f *fleet) settle(ctx context.Context, patience, stillness time.Duration) error {
	var open, missing int
	at, before := time.Now(), findings{}
	err := until(ctx, patience, "all is answered and delivered", func() bool {
		open, missing = f.check.outstanding()
		if now := f.check.count(); now.Delivered != before.Delivered || now.Acked != before.Acked {
			at, before = time.Now(), now
		}
		return open == 0 && (missing == 0 || time.Since(at) > stillness)
	})
	if err != nil && open > 0 {
		return fmt.Errorf("%w: %d messages without an answer", err, open)
	}
	return ctx.Err() // what is missing is found by the checker
}

// look returns what happened since the last look.
func (f *fleet) look() (offered, acked, delivered int, delays []float64) {
	f.mu.Lock()
	delays, f.delays = f.delays, nil
	f.mu.Unlock()
	slices.Sort(delays)
	return int(f.offered.Swap(0)), int(f.acked.Swap(0)), int(f.delivered.Swap(0)), delays
}

// at returns the users whose session is live at an edge.
func (f *fleet) at(node string) (there []*user) {
	for _, u := range f.users {
		if on, live, _ := u.where(); live && on == node {
			there = append(there, u)
		}
	}
	return there
}

// stoppedForGood lists the sessions that ended, which none should.
func (f *fleet) stoppedForGood() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ended)
}

func (f *fleet) close() {
	if f.stop == nil {
		return
	}
	f.stop()
	var closing sync.WaitGroup
	for chunk := range slices.Chunk(f.users, max(1, len(f.users)/connectors)) {
		closing.Go(func() {
			for _, u := range chunk {
				u.close()
			}
		})
	}
	closing.Wait()
	f.running.Wait()
	f.sending.Wait()
}

// user is one session, and where it is.
type user struct {
	fleet  *fleet
	number int
	name   string
	token  string
	client *client.Client

	mu    sync.Mutex
	conn  net.Conn
	node  string    // of the last connect reply
	live  bool      // the session is open
	since time.Time // when it became so
}

func (u *user) open(ctx context.Context) (err error) {
	u.client, err = client.New(client.Config{
		URL: "ws://" + loadBalancer + "/v1/ws", Token: u.token, Device: "phone",
		Transport: client.WebSocket, NoDelivered: true, SendsInFlight: 1, Assign: u.fleet.assign, Dial: u.dial, OnState: u.changed,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := u.client.Connect(ctx); err != nil {
		return fmt.Errorf("%s: %w", u.name, err)
	}
	return nil
}

func (u *user) close() {
	if u.client != nil {
		_ = u.client.Close()
	}
}

// dial is the balancer; what an edge assigned is dialled as it is.
func (u *user) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address != loadBalancer {
		return u.dialTo(ctx, network, address)
	}
	var failed error
	for _, e := range u.fleet.edgesFor(u.number) {
		c, err := u.dialTo(ctx, network, e.address)
		if err == nil {
			return c, nil
		}
		failed = err
	}
	return nil, failed
}

func (u *user) dialTo(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialPatience}
	if u.fleet.loopback { // an address of its own, as on the Internet
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 1+byte(u.number>>14), byte(u.number>>7&127), 1+byte(u.number&127))}
	}
	c, err := d.DialContext(ctx, network, address)
	if err == nil {
		u.mu.Lock()
		u.conn = c
		u.mu.Unlock()
	}
	return c, err
}

// cut ends the connection as a failing router does.
func (u *user) cut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c, ok := u.conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

func (u *user) changed(s client.State) {
	u.mu.Lock()
	defer u.mu.Unlock()
	live := s.Phase == client.Live || s.Phase == client.Replaying
	if live && !u.live {
		u.since = time.Now()
	}
	if u.live = live; live {
		u.node = s.Welcome.Node
	}
}

func (u *user) where() (node string, live bool, since time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.node, u.live, u.since
}

// send makes the user's next message. Only one goroutine may call it.
func (u *user) send(ctx context.Context) {
	f := u.fleet
	number := f.check.offered(u.number)
	f.offered.Add(1)
	t, err := u.client.Submit(ctx, fmt.Sprint("user-", u.number^1), client.Message{Text: text(u.number, number, time.Now().UnixNano())})
	if err != nil {
		return // the end of the run
	}
	f.sending.Go(func() {
		_, err := t.Wait(ctx)
		var refused *godwit.Error
		switch {
		case err == nil:
			f.check.answered(u.number, number, outcomeStored)
			f.acked.Add(1)
		case errors.As(err, &refused):
			f.check.answered(u.number, number, outcomeRefused)
		}
	})
}

// listen takes what comes until the session ends.
func (u *user) listen(ctx context.Context) {
	f := u.fleet
	for item, err := range u.client.Events(ctx) {
		if err != nil {
			if ctx.Err() == nil {
				f.mu.Lock()
				f.ended = append(f.ended, fmt.Sprintf("the session of %s ended: %v", u.name, err))
				f.mu.Unlock()
			}
			return
		}
		if item.Gap != nil {
			f.check.broken(u.number, item.Gap.Reason)
			continue
		}
		e := &item.Entry
		if e.Kind != godwit.EntryMessage || e.IsSkip() {
			continue
		}
		sender, number, at, ok := parseText(e.Msg.Body)
		if !ok || !strings.HasSuffix(string(e.Msg.From), fmt.Sprint("-", sender)) {
			sender = -1
		}
		f.delivered.Add(1)
		if f.planted.received(u.number, e.Seq, sender, number) {
			f.took(float64(time.Now().UnixNano()-at) / 1e6)
		}
	}
}

func (f *fleet) took(ms float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delays = append(f.delays, ms)
}
