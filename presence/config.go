package presence

import (
	"errors"
	"time"

	"github.com/godwit-im/godwit"
)

// Router knows which sessions a user has. Methods never block.
type Router interface {
	Presence(user godwit.UserID) (online bool, lastSeenMS int64)
	// Session is the session of a user's device; 0: it has none.
	Session(user godwit.UserID, device string) godwit.SessionID
	// Device is the device of a user's session; ok is false if it is not registered.
	Device(user godwit.UserID, s godwit.SessionID) (device string, ok bool)
}

// Edge holds the sessions. Whisper never blocks and may lose the frame.
type Edge interface {
	Whisper(sessions []godwit.SessionID, f *godwit.ServerFrame)
}

// Rights says who may see whom. It is asked before every frame that tells of a
// user, from the hub's goroutine, with no lock held: it may read from the disk.
type Rights interface {
	// MaySee sets may[i] to whether watchers[i] may see target's presence.
	MaySee(target godwit.UserID, watchers []godwit.UserID, may []bool)
}

// Config of a Hub. The zero value of a number means its default.
type Config struct {
	Router Router
	Edge   Edge
	Rights Rights

	// Debounce is how long after a user's last session ended he is shown as offline,
	// if none came meanwhile; 4 s. It bridges the gap between two polls.
	Debounce time.Duration
	// OnlineDelay is how long a session must have lived before watchers hear of it; 1 s.
	OnlineDelay time.Duration
	// PerSecond bounds the frames sent to the sessions of one edge process in any
	// second; 2000, at least 10. What is above it waits, and is told as it is then.
	PerSecond int
	// ListMax bounds the users of one list; 500. A longer one is refused.
	ListMax int
	// WatchesMax bounds the users of all lists, each time a list has him about 60
	// bytes; 1 Mi. A list that has no room is refused and the one before it stays.
	WatchesMax int

	Clock func() int64     // ms since the Unix epoch; time.Now
	Ticks <-chan time.Time // one every TickInterval; nil: a ticker
}

// TickInterval is how often changes are looked at and told.
const TickInterval = 200 * time.Millisecond

const (
	// flipEvery and flipsSaved pace the changes of one user that others see: so many
	// at once, and then one in so many ms. A flapping client is quiet.
	flipEvery  = 10_000
	flipsSaved = 2
	// missedAfter is the debounce of a user whom a message did not reach, in ms.
	missedAfter = 1000
	// keepAfter is how long a list outlives its device's last session, in ms.
	keepAfter = 60_000
	// deviceListsMax bounds the lists of one user. For a new one the one longest
	// without a session goes; if all have one, the new one is refused.
	deviceListsMax = 32
	// perSecondMin leaves the token bucket room for a whole frame.
	perSecondMin = 10
	// lookedAtMax bounds the queued watches looked at in one tick for one edge: those
	// not worth a frame cost no budget. The others are looked at in the next.
	lookedAtMax = 1 << 14
)

// ErrFull refuses a list: there is no room for it now.
var ErrFull error = full{}

type full struct{}

func (full) Error() string   { return "presence: too many are watched" }
func (full) Temporary() bool { return true }

// ErrNoDevice refuses a list of a session that no device holds open.
var ErrNoDevice = errors.New("presence: no device to tell")

func (c *Config) validate() error {
	if c.Router == nil || c.Edge == nil || c.Rights == nil {
		return errors.New("presence: Router, Edge and Rights are required")
	}
	for _, d := range []struct {
		field    *int
		standard int
	}{{&c.PerSecond, 2000}, {&c.ListMax, 500}, {&c.WatchesMax, 1 << 20}} {
		if *d.field == 0 {
			*d.field = d.standard
		}
		if *d.field < 1 {
			return errors.New("presence: a bound is negative")
		}
	}
	if c.Debounce == 0 {
		c.Debounce = 4 * time.Second
	}
	if c.OnlineDelay == 0 {
		c.OnlineDelay = time.Second
	}
	if c.Debounce < 0 || c.OnlineDelay < 0 || c.PerSecond < perSecondMin {
		return errors.New("presence: a delay is negative, or PerSecond below 10")
	}
	if c.Clock == nil {
		c.Clock = func() int64 { return time.Now().UnixMilli() }
	}
	return nil
}
