package main

import (
	"context"
	"fmt"
	"time"
)

// cutFor is longer than it takes clients and link to find out that nobody answers.
const cutFor = 15 * time.Second

// cutLink pulls the plug of an edge's host, and puts it back.
func (r *run) cutLink(ctx context.Context) error {
	m := r.edges[1]
	victims := r.fleet.at(m.name)
	p, err := r.during(ctx, "cut_link", func() error {
		if err := m.host.Cut(); err != nil {
			return err
		}
		r.result.Faults["cut_link"]++
		if err := r.wait(ctx, cutFor); err != nil {
			return err
		}
		if err := m.host.Heal(); err != nil {
			return err
		}
		return r.allLive(ctx)
	})
	if err == nil {
		p.Note = fmt.Sprintf("%d sessions were at %s", len(victims), m.name)
	}
	return err
}

// partition makes what the engine sends to an edge vanish, while clients reach the
// edge and the edge reaches the engine.
func (r *run) partition(ctx context.Context) error {
	m := r.edges[len(r.edges)-1]
	victims := r.fleet.at(m.name)
	p, err := r.during(ctx, "partition", func() error {
		if err := r.engine.host.Mute(m.address); err != nil {
			return err
		}
		r.result.Faults["partition"]++
		if err := r.wait(ctx, cutFor); err != nil {
			return err
		}
		if err := r.engine.host.Unmute(m.address); err != nil {
			return err
		}
		return r.allLive(ctx)
	})
	if err == nil {
		p.Note = fmt.Sprintf("%d sessions were at %s", len(victims), m.name)
	}
	return err
}

// allLive waits until every session is open.
func (r *run) allLive(ctx context.Context) error {
	n := 0
	err := until(ctx, movePatience, "all sessions are open", func() bool {
		n = 0
		for _, u := range r.fleet.users {
			if _, live, _ := u.where(); live {
				n++
			}
		}
		return n == len(r.fleet.users)
	})
	r.result.unless(err == nil, "%d of %d sessions were open a minute after the fault", n, len(r.fleet.users))
	return ctx.Err()
}
