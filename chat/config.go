package chat

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Config is what a Service needs. The zero value of a number means its default.
type Config struct {
	Machine *Machine // the one given to Store
	Store   Store
	Edge    Edge
	Router  Router
	// Presence is package presence's hub; nil: the router alone, and no watching.
	Presence Presence
	// PresenceOfAll shows everybody's presence to all but those he blocks.
	PresenceOfAll bool

	BodyBytesMax  int // of one message body; 16384
	PageMax       int // entries of one page, and the page when none is asked for; 100
	PageBytesMax  int // stored bytes of one page, encoding comes on top; 512 KiB
	PresenceMax   int // users of one presence request; 100
	WatchMax      int // users a device may watch; 0: nobody may watch
	UserSendPerS  int // sustained sends a second of one user, with 2 s of them saved up; 0: not limited
	GroupSendPerS int // the same to one group, by all its members; 0: not limited
	ResumeMax     int // entries a resume may replay before it is too far; 5000
	ReadWorkers   int // goroutines that read; 4
	ReadQueueMax  int // reads waiting or running; more are refused as unavailable; 4096
	LaneItemsMax  int // undelivered items of one lane; a full lane refuses sends; 4096
	LaneBytesMax  int // their bytes; 16 MiB
	OutboxMax     int // undelivered items of all lanes in this process; 1 Mi
	AnswerSeconds int // after which a request in doubt is answered; 4, below the promised 5

	// Retention is how long entries are kept, at least; 0: for ever.
	Retention time.Duration

	// Hook is asked about each message before it is stored; nil: nobody is.
	Hook         Hook
	HookCalls    int // messages that are looked at at once; 32
	HookQueueMax int // messages that wait for it or for a look at who may start a conversation; 4096

	// Policy is what this leader makes the cluster's, at every start.
	Policy Policy

	// Genesis is what the first start of a cluster writes into its groups. Later
	// starts read it from there.
	Genesis Genesis
	Random  io.Reader // the first start's epoch and key; crypto/rand

	// Restored names the incarnation that a restore of the store began, 0: none
	// did. Start makes it the epoch of all groups. nil: 0.
	Restored func() uint64
	// Checkpoint writes down what was applied, as rows. Programs that do not know a
	// group's level skip the commands of that level in a log, but refuse its rows: so
	// a level counts only with its rows on disk. nil: the store keeps no log.
	Checkpoint func() error

	// Now is the time in ms since the Unix epoch; time.Now. Only housekeeping goes by
	// it: what is stored goes by the store's.
	Now func() int64
	// Ticks drive deadlines and retries, one every TickInterval; nil: a ticker.
	Ticks  <-chan time.Time
	Logger *slog.Logger // slog.Default()
}

// bodyBytesCap leaves a message room in one command, forwarded too.
const bodyBytesCap = 512 << 10

// TickInterval is the resolution of deadlines and retries.
const TickInterval = 100 * time.Millisecond

// Policy are the rules of the cluster. The zero value of a number means its default.
type Policy struct {
	ChannelAbove   int           // members above which a group becomes a channel, for good; 500
	MembersMax     int           // of a group; 200000
	GroupsMax      int           // of a user, channels included; 1000
	ChannelsMax    int           // of a user; 200
	PeopleMax      int           // whom a user blocks, and as many contacts; 10000
	EditWindow     time.Duration // in which a message may be edited or recalled; 0: for ever
	WhoMayStart    string        // a conversation with a user: "all", "contacts", "none"; all
	ReceiptMembers int           // groups of up to so many members tell them of each other's marks; 20
}

func (p *Policy) validate() error {
	for _, d := range []struct {
		field    *int
		standard int
	}{
		{&p.ChannelAbove, 500},
		{&p.MembersMax, 200000},
		{&p.GroupsMax, 1000},
		{&p.ChannelsMax, 200},
		{&p.PeopleMax, 10000},
		{&p.ReceiptMembers, 20},
	} {
		if *d.field == 0 {
			*d.field = d.standard
		}
		if *d.field < 1 || *d.field > 1<<24 {
			return errors.New("chat: a limit of the policy is out of range")
		}
	}
	switch p.WhoMayStart {
	case "":
		p.WhoMayStart = "all"
	case "all", "contacts", "none":
	default:
		return fmt.Errorf("chat: WhoMayStart is all, contacts or none, not %q", p.WhoMayStart)
	}
	if p.EditWindow < 0 {
		return errors.New("chat: EditWindow is negative")
	}
	return nil
}

// replicated is the policy as apply knows it; validate has been called.
func (p *Policy) replicated() policy {
	return policy{
		channelAbove: uint32(p.ChannelAbove), membersMax: uint32(p.MembersMax), groupsMax: uint32(p.GroupsMax),
		channelsMax: uint32(p.ChannelsMax), peopleMax: uint32(p.PeopleMax), receiptMembers: uint32(p.ReceiptMembers),
		editWindowMS: uint64(p.EditWindow / time.Millisecond),
		whoMayStart:  map[string]uint8{"all": startAll, "contacts": startContacts, "none": startNone}[p.WhoMayStart],
	}
}

// Genesis is the part of the replicated settings that may be chosen.
type Genesis struct {
	DedupSends       int           // sends of a user that are remembered; 10000
	DedupWindow      time.Duration // and for how long; 7 days
	ConversationsMax int           // conversations after which a user may open no other; 100000
}

func (c *Config) validate() error {
	switch {
	case c.Machine == nil || c.Store == nil || c.Edge == nil || c.Router == nil:
		return errors.New("chat: Machine, Store, Edge and Router are required")
	case c.BodyBytesMax > bodyBytesCap:
		return fmt.Errorf("chat: BodyBytesMax is %d, at most %d", c.BodyBytesMax, bodyBytesCap)
	case c.UserSendPerS < 0 || c.UserSendPerS > senderUserPerSMax:
		return fmt.Errorf("chat: UserSendPerS is %d, it must be 0 to %d", c.UserSendPerS, senderUserPerSMax)
	case c.Retention < 0 || c.Retention > 0 && c.Retention < retentionEvery:
		return fmt.Errorf("chat: Retention is %s, it must be 0 or at least %s", c.Retention, retentionEvery)
	case c.GroupSendPerS < 0 || c.GroupSendPerS > senderUserPerSMax:
		return fmt.Errorf("chat: GroupSendPerS is %d, it must be 0 to %d", c.GroupSendPerS, senderUserPerSMax)
	case len(c.Machine.groups) != c.Store.Groups():
		return fmt.Errorf("chat: machine of %d groups on a store of %d", len(c.Machine.groups), c.Store.Groups())
	}
	for _, d := range []struct {
		field    *int
		standard int
	}{
		{&c.BodyBytesMax, 16384},
		{&c.PageMax, 100},
		{&c.PageBytesMax, 512 << 10},
		{&c.PresenceMax, 100},
		{&c.ResumeMax, 5000},
		{&c.ReadWorkers, 4},
		{&c.ReadQueueMax, 4096},
		{&c.LaneItemsMax, 4096},
		{&c.LaneBytesMax, 16 << 20},
		{&c.OutboxMax, 1 << 20},
		{&c.AnswerSeconds, 4},
		{&c.HookCalls, 32},
		{&c.HookQueueMax, 4096},
		{&c.Genesis.DedupSends, 10000},
		{&c.Genesis.ConversationsMax, 100000},
	} {
		if *d.field == 0 {
			*d.field = d.standard
		}
		if *d.field < 0 {
			return errors.New("chat: a limit is negative")
		}
	}
	if err := c.Policy.validate(); err != nil {
		return err
	}
	if c.Genesis.DedupWindow == 0 {
		c.Genesis.DedupWindow = 7 * 24 * time.Hour
	}
	if c.Genesis.DedupWindow < time.Millisecond {
		return errors.New("chat: Genesis.DedupWindow is below a millisecond")
	}
	if c.Presence == nil {
		c.Presence, c.WatchMax = noPresence{c.Router}, 0
	}
	if c.Now == nil {
		c.Now = func() int64 { return time.Now().UnixMilli() }
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}
