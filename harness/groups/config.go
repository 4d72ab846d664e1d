package groups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Config says what to measure, and on which server.
type Config struct {
	URL     string // of the server's WebSocket
	Metrics string // its /metrics
	PID     int    // its process
	Tokens  func(users []string) ([]string, error)

	Sizes      []int // members of the groups, ascending
	Channel    int   // members of a channel; 0: none
	Online     int   // sessions; users beyond have none
	Rounds     int
	Deliveries int // to sessions, of one size in one round, about
	Paced      int // messages of one size whose latency is taken
	// Checkpoint has the server move all entries to segments; needed with Fill.
	Checkpoint func(ctx context.Context) error
	// Fill is how many messages the group of the third size (or the last) gets to
	// measure bytes on disk; 0: none.
	Fill int

	Progress io.Writer // a line for each step
}

// Full and Quick are the two forms of a run; the caller adds the server.
func Full() Config {
	return Config{
		Sizes: []int{10, 100, 1000, 10000}, Channel: 100000, Online: 10000, Rounds: 5, Deliveries: 100000, Paced: 100, Fill: 1000,
	}
}

// Quick takes about half a minute.
func Quick() Config {
	return Config{Sizes: []int{10, 100, 1000}, Channel: 4000, Online: 1000, Rounds: 3, Deliveries: 20000, Paced: 30, Fill: 200}
}

// ChannelAbove is the policy.channel_above the server must have: every group of
// Sizes stays a group, and Channel becomes a channel.
func (c *Config) ChannelAbove() int { return c.Sizes[len(c.Sizes)-1] + 1000 }

func (c *Config) validate() error {
	switch {
	case c.URL == "" || c.Metrics == "" || c.PID == 0 || c.Tokens == nil:
		return errors.New("groups: URL, Metrics, PID and Tokens are required")
	case len(c.Sizes) == 0 || !slices.IsSorted(c.Sizes) || c.Sizes[0] < 2:
		return errors.New("groups: sizes are ascending, from 2 on")
	case c.Channel != 0 && c.Channel <= c.ChannelAbove():
		return fmt.Errorf("groups: a channel has more than %d members here", c.ChannelAbove())
	case c.Fill > 0 && c.Checkpoint == nil:
		return errors.New("groups: Fill needs Checkpoint")
	case c.Online < 2 || c.Rounds < 1 || c.Deliveries < 1:
		return errors.New("groups: give at least 2 sessions, a round and a delivery")
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	return nil
}
