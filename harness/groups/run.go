package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// run is one measurement under way.
type run struct {
	cfg   *Config
	fleet *fleet
	cell  int64 // number of the newest
}

// addAtOnce is how many members one request adds.
const addAtOnce = 1000

// Run measures. The server must have the policy.channel_above of cfg and no limits
// of rates. A cell with lost or repeated deliveries is in the result, and an error.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &run{cfg: &cfg}
	var err error
	r.say("%d sessions connect", cfg.Online)
	if r.fleet, err = connect(ctx, &cfg); err != nil {
		return nil, err
	}
	defer r.fleet.close()
	out := &Result{Format: Format, Rounds: cfg.Rounds, Online: cfg.Online}
	ids := make([]string, len(cfg.Sizes))
	for i, size := range cfg.Sizes {
		if ids[i], err = r.makeGroup(ctx, size); err != nil {
			return nil, err
		}
		out.Groups = append(out.Groups, Cell{Members: size, Online: min(size, cfg.Online)})
	}
	if cfg.Channel != 0 {
		id, err := r.makeGroup(ctx, cfg.Channel)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
		out.Channel = &Cell{Members: cfg.Channel, Online: min(cfg.Channel, cfg.Online)}
	}
	cells := make([]*Cell, len(ids))
	for i := range out.Groups {
		cells[i] = &out.Groups[i]
	}
	if out.Channel != nil {
		cells[len(cells)-1] = out.Channel
	}
	if err := r.measure(ctx, ids, cells); err != nil {
		return nil, err
	}
	out.finish()
	return out, verify(cells)
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.cfg.Progress, format+"\n", args...)
}

// verify makes an error of what should not have happened.
func verify(cells []*Cell) (err error) {
	for _, c := range cells {
		if c.Lost+c.Repeated > 0 {
			err = errors.Join(err, fmt.Errorf("group of %d: %d deliveries lost, %d repeated", c.Members, c.Lost, c.Repeated))
		}
	}
	return err
}

// measure goes through the sizes once a round, so that what else the machine does
// hits all of them; then latencies at a pace, then bytes on disk.
func (r *run) measure(ctx context.Context, ids []string, cells []*Cell) error {
	for round := range r.cfg.Rounds {
		for i, c := range cells {
			if err := r.burst(ctx, ids[i], c); err != nil {
				return fmt.Errorf("round %d, group of %d: %w", round+1, c.Members, err)
			}
			r.say("round %d of %d: %d members, %.2f µs per delivery", round+1, r.cfg.Rounds, c.Members, c.CPUPerDelivery[round])
		}
	}
	for i, c := range cells {
		if err := r.pace(ctx, ids[i], c); err != nil {
			return fmt.Errorf("group of %d at a pace: %w", c.Members, err)
		}
		r.say("at a pace: %d members, p99 %.2f ms", c.Members, c.P99)
	}
	if r.cfg.Fill == 0 {
		return nil
	}
	at := min(2, len(r.cfg.Sizes)-1)
	r.say("%d messages fill the disk", r.cfg.Fill)
	return r.fill(ctx, ids[at], cells[at])
}

// makeGroup makes a group of the first users, whose owner is the first.
func (r *run) makeGroup(ctx context.Context, size int) (conv string, err error) {
	owner := r.fleet.clients[0]
	r.say("a group of %d", size)
	var group godwit.GroupReply
	for from := 1; from < size; from += addAtOnce {
		var users []godwit.UserID
		for i := from; i < min(size, from+addAtOnce); i++ {
			users = append(users, godwit.UserID(userName(i)))
		}
		if from == 1 {
			group, err = owner.CreateGroup(ctx, client.NewGroup{Name: fmt.Sprint("of ", size), Members: users})
		} else {
			group, err = owner.AddMembers(ctx, string(group.Group), users...)
		}
		if err != nil {
			return "", fmt.Errorf("group of %d: %w", size, err)
		}
	}
	if int(group.Count) != size {
		return "", fmt.Errorf("a group of %d members has %d", size, group.Count)
	}
	return string(group.Conv), nil
}

// Senders of a burst and how many messages each keeps on its way.
const (
	senders = 8
	window  = 16
)

// burst sends as fast as the server takes it and counts its work.
func (r *run) burst(ctx context.Context, conv string, c *Cell) error {
	messages := max(r.cfg.Deliveries/c.Online, senders)
	r.cell++
	r.fleet.begin(r.cell, messages*c.Online)
	entries, err := r.metric(ctx, "godwit_engine_entries")
	if err != nil {
		return err
	}
	cpu, err := cpuMicros(r.cfg.PID)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := r.send(ctx, conv, messages, min(senders, c.Online)); err != nil {
		return err
	}
	lost := r.fleet.await(ctx)
	took := time.Since(start)
	cpuAfter, err := cpuMicros(r.cfg.PID)
	if err != nil {
		return err
	}
	entriesAfter, err := r.metric(ctx, "godwit_engine_entries")
	if err != nil {
		return err
	}
	delivered := int(r.fleet.delivered.Load())
	c.Lost += lost
	c.Repeated += int(r.fleet.repeated.Load())
	c.Entries = (c.Entries*float64(c.Messages) + entriesAfter - entries) / float64(c.Messages+messages)
	c.Messages += messages
	c.Deliveries += delivered
	c.CPUPerDelivery = append(c.CPUPerDelivery, (cpuAfter-cpu)/float64(max(1, delivered)))
	c.PerSecond = max(c.PerSecond, float64(delivered)/took.Seconds())
	return nil
}

// send has the first members send so many messages in all.
func (r *run) send(ctx context.Context, conv string, messages, from int) error {
	errs := make(chan error, from)
	for s := range from {
		go func() {
			var tickets []*client.Ticket
			var err error
			for range messages/from + min(1, max(0, messages%from-s)) {
				var t *client.Ticket
				if t, err = r.fleet.clients[s].Submit(ctx, conv, client.Message{Text: text(r.cell, 0)}); err != nil {
					break
				}
				if tickets = append(tickets, t); len(tickets) >= window {
					if _, err = tickets[0].Wait(ctx); err != nil {
						break
					}
					tickets = tickets[1:]
				}
			}
			for _, t := range tickets {
				_, e := t.Wait(ctx)
				err = errors.Join(err, e)
			}
			errs <- err
		}()
	}
	var err error
	for range from {
		err = errors.Join(err, <-errs)
	}
	return err
}

// paceDeliveries is how many deliveries a second the paced messages make, at most.
const paceDeliveries = 5000

// pace sends one message at a time, far below what the server can, and takes how
// long each delivery took.
func (r *run) pace(ctx context.Context, conv string, c *Cell) error {
	messages := min(r.cfg.Paced, max(5, 20*paceDeliveries/c.Online))
	r.cell++
	r.fleet.begin(r.cell, messages*c.Online)
	gap := time.Duration(max(float64(time.Second)*float64(c.Online)/paceDeliveries, float64(20*time.Millisecond)))
	ticker := time.NewTicker(gap)
	defer ticker.Stop()
	cpu, err := cpuMicros(r.cfg.PID)
	if err != nil {
		return err
	}
	for i := range messages {
		<-ticker.C
		if _, err := r.fleet.clients[i%min(senders, c.Online)].Send(ctx, conv, client.Message{Text: text(r.cell, time.Now().UnixNano())}); err != nil {
			return err
		}
	}
	c.Lost += r.fleet.await(ctx)
	cpuAfter, err := cpuMicros(r.cfg.PID)
	if err != nil {
		return err
	}
	delivered := int(r.fleet.delivered.Load())
	c.PacedCPU = (cpuAfter - cpu) / float64(max(1, delivered))
	c.Repeated += int(r.fleet.repeated.Load())
	c.Deliveries += delivered
	c.Messages += messages
	r.fleet.mu.Lock()
	defer r.fleet.mu.Unlock()
	slices.Sort(r.fleet.latencies)
	c.P50, c.P99 = quantile(r.fleet.latencies, 0.5), quantile(r.fleet.latencies, 0.99)
	return nil
}
