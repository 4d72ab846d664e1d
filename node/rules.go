package node

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/godwit-im/godwit/chat"
	"github.com/godwit-im/godwit/hook"
)

// PolicyConfig are the rules that bind users. They are replicated: what a node was
// told becomes the cluster's when it starts.
type PolicyConfig struct {
	ChannelAbove   uint32   `yaml:"channel_above" env:"CHANNEL_ABOVE" doc:"A group with more members becomes a channel, for good: its messages are then not copied to members' logs. 1 to 16777216."`
	Members        uint32   `yaml:"members" env:"MEMBERS" doc:"Members of one group, 1 to 16777216."`
	Groups         uint32   `yaml:"groups" env:"GROUPS" doc:"Groups of one user, channels included, 1 to 100000."`
	Channels       uint32   `yaml:"channels" env:"CHANNELS" doc:"Channels of one user, 1 to 100000."`
	People         uint32   `yaml:"people" env:"PEOPLE" doc:"Users that one user blocks, and as many contacts, 1 to 10000."`
	EditWindow     Duration `yaml:"edit_window" env:"EDIT_WINDOW" doc:"How long a message may be edited or recalled by its author, whole seconds. 0: for ever."`
	WhoMayStart    string   `yaml:"who_may_start" env:"WHO_MAY_START" doc:"Who may start a conversation with a user: all, contacts (those he has among his contacts) or none. The operator always may, and who was written to may answer."`
	ReceiptMembers uint32   `yaml:"receipt_members" env:"RECEIPT_MEMBERS" doc:"Groups of up to so many members tell them of each other's marks, 1 to 1000. In larger ones a client asks for counts."`
}

// HookConfig is the operator's service that is asked before a message is stored or edited.
type HookConfig struct {
	URL        string   `yaml:"url" env:"URL" doc:"http or https address that each message and each edit is posted to before it is stored; its answer is {\"allow\": true} or {\"allow\": false, \"message\": …}. Empty: none."`
	Timeout    Duration `yaml:"timeout" env:"TIMEOUT" doc:"Time for the whole call, 10ms to 3s. Every message and edit waits for it."`
	Fail       string   `yaml:"fail" env:"FAIL" doc:"What becomes of messages without an answer in time. open: they are stored. closed: they are refused for now. Required with url."`
	SecretFile string   `yaml:"secret_file" env:"SECRET_FILE" doc:"File with a secret of at least 16 bytes that signs the calls (HMAC-SHA256). Required unless url is of a loopback address."`
	Calls      uint32   `yaml:"calls" env:"CALLS" doc:"Calls at once, 1 to 1024. A sender has at most one."`
	Queue      uint32   `yaml:"queue" env:"QUEUE" doc:"Messages that wait for a call, 1 to 1048576. What comes beyond is treated as hook.fail says."`
}

// RetentionConfig is how long messages are kept.
type RetentionConfig struct {
	Messages Duration `yaml:"messages" env:"MESSAGES" doc:"Entries older than this are erased from all logs, 24h at least. 0: never. Looked at once an hour; nothing goes that two looks do not agree on."`
}

func defaultPolicy() PolicyConfig {
	return PolicyConfig{
		ChannelAbove: 500, Members: 200000, Groups: 1000, Channels: 200, People: 10000,
		EditWindow: Duration(24 * time.Hour), WhoMayStart: "all", ReceiptMembers: 20,
	}
}

func defaultHook() HookConfig {
	return HookConfig{Timeout: Duration(500 * time.Millisecond), Calls: 32, Queue: 4096}
}

func (cfg *Config) checkRules(bad *complaints) {
	p := &cfg.Policy
	for _, n := range []struct {
		name  string
		value uint32
		most  uint32
	}{
		{"channel_above", p.ChannelAbove, 1 << 24},
		{"members", p.Members, 1 << 24},
		{"groups", p.Groups, 100000},
		{"channels", p.Channels, 100000},
		{"people", p.People, 10000},
		{"receipt_members", p.ReceiptMembers, 1000},
	} {
		bad.unless(between(n.value, 1, n.most), "policy."+n.name, "is %d; it must be 1 to %d", n.value, n.most)
	}
	window := time.Duration(p.EditWindow)
	bad.unless(window%time.Second == 0 && window <= 100*365*24*time.Hour, "policy.edit_window", "is %s; it must be whole seconds, at most 100 years", p.EditWindow)
	who := p.WhoMayStart
	bad.unless(who == "all" || who == "contacts" || who == "none", "policy.who_may_start", "is %q; it must be all, contacts or none", who)
	kept := time.Duration(cfg.Retention.Messages)
	bad.unless(kept == 0 || kept >= 24*time.Hour, "retention.messages", "is %s; it must be 0 or at least 24h", cfg.Retention.Messages)
	cfg.checkHook(bad)
}

func (cfg *Config) checkHook(bad *complaints) {
	h := &cfg.Hook
	bad.unless(between(time.Duration(h.Timeout), 10*time.Millisecond, 3*time.Second), "hook.timeout", "is %s; it must be 10ms to 3s", h.Timeout)
	bad.unless(between(h.Calls, 1, 1024), "hook.calls", "is %d; it must be 1 to 1024", h.Calls)
	bad.unless(between(h.Queue, 1, 1<<20), "hook.queue", "is %d; it must be 1 to 1048576", h.Queue)
	if h.URL == "" {
		bad.unless(h.Fail == "" || h.Fail == "open" || h.Fail == "closed", "hook.fail", "is %q; it must be open or closed", h.Fail)
		return
	}
	u, err := url.Parse(h.URL)
	good := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.Fragment == ""
	bad.unless(good, "hook.url", "is %q; it must be http://… or https://… without a user", h.URL)
	bad.unless(h.Fail == "open" || h.Fail == "closed", "hook.fail", "is %q; say what becomes of messages when the service does not answer: open stores them, closed refuses them", h.Fail)
	if good {
		bad.unless(h.SecretFile != "" || Loopback(u.Hostname()+":0") || u.Hostname() == "localhost", "hook.secret_file", "is empty; the service at %s could not tell calls of this server from others", u.Host)
	}
}

func (p *PolicyConfig) chat() chat.Policy {
	return chat.Policy{
		ChannelAbove: int(p.ChannelAbove), MembersMax: int(p.Members), GroupsMax: int(p.Groups),
		ChannelsMax: int(p.Channels), PeopleMax: int(p.People), EditWindow: time.Duration(p.EditWindow),
		WhoMayStart: p.WhoMayStart, ReceiptMembers: int(p.ReceiptMembers),
	}
}

// chatConfig is what the chat tier is made with.
func (n *Node) chatConfig(machine *chat.Machine, store chat.Store, clients chat.Edge, router chat.Router) chat.Config {
	cfg := chat.Config{
		Machine:       machine,
		Store:         store,
		Edge:          clients,
		Router:        router,
		Checkpoint:    func() error { return n.store.Checkpoint() },
		Restored:      func() uint64 { return n.store.Restored() }, // Start comes after the store
		BodyBytesMax:  int(n.cfg.Limits.Body),
		PageMax:       int(n.cfg.Limits.Page),
		PresenceMax:   int(n.cfg.Limits.Presence),
		WatchMax:      int(n.cfg.Limits.Watch),
		Presence:      n.presence,
		PresenceOfAll: n.cfg.Presence.Visible == PresenceAll,
		UserSendPerS:  int(n.cfg.Limits.UserSendPerS),
		GroupSendPerS: int(n.cfg.Limits.GroupSendPerS),
		AnswerSeconds: n.cfg.answerSeconds,
		HookCalls:     int(n.cfg.Hook.Calls),
		HookQueueMax:  int(n.cfg.Hook.Queue),
		Now:           n.now,
		Retention:     time.Duration(n.cfg.Retention.Messages),
		Policy:        n.cfg.Policy.chat(),
		Logger:        n.logger.With("tier", "chat"),
	}
	if n.hook != nil {
		cfg.Hook = hookAdapter{n.hook}
	}
	return cfg
}

// newHook returns nil without an error if there is none.
func (n *Node) newHook() (*hook.Client, error) {
	h := &n.cfg.Hook
	if h.URL == "" {
		return nil, nil
	}
	cfg := hook.Config{
		URL: h.URL, Timeout: time.Duration(h.Timeout), FailOpen: h.Fail == "open", Calls: int(h.Calls),
		Now: n.cfg.Clock, Logger: n.logger.With("tier", "hook"),
	}
	if h.SecretFile != "" {
		secret, err := os.ReadFile(h.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("hook.secret_file: %w", err)
		}
		if cfg.Secret = bytes.TrimSpace(secret); len(cfg.Secret) < 16 {
			return nil, fmt.Errorf("hook.secret_file: %s has fewer than 16 bytes", h.SecretFile)
		}
	}
	return hook.New(cfg)
}

func hookSeries() []series {
	return []series{
		counter("hook_calls_total", "Messages and edits that hook.url was asked about.", func(s *snapshot) float64 { return float64(s.hook.Calls) }),
		counter("hook_refused_total", "Of them: those it refused.", func(s *snapshot) float64 { return float64(s.hook.Refused) }),
		counter("hook_failures_total", "Of them: those without an answer that counts.", func(s *snapshot) float64 { return float64(s.hook.Failures) }),
		counter("hook_skipped_total", "Messages and edits it was not asked about, because it was failing or too many waited.", func(s *snapshot) float64 { return float64(s.hook.Skipped) }),
		counter("hook_seconds_total", "Time of all calls together.", func(s *snapshot) float64 { return s.hook.Waited.Seconds() }),
		gauge("hook_open", "1 while it fails and is not asked.", func(s *snapshot) float64 {
			if s.hook.Open {
				return 1
			}
			return 0
		}),
	}
}

// hookAdapter shows the client of the hook to chat.
type hookAdapter struct{ *hook.Client }

func (a hookAdapter) BeforeSend(ctx context.Context, m *chat.Outgoing) chat.Verdict {
	out := &hook.Message{From: string(m.From), Conv: string(m.Conv), CID: string(m.CID), MID: string(m.MID), Type: string(m.Type)}
	if m.Text {
		text := string(m.Body)
		out.Text = &text
	} else {
		out.Data = &m.Body
	}
	return verdict(a.Client.BeforeSend(ctx, out))
}

func (a hookAdapter) Skip() chat.Verdict { return verdict(a.Client.Skip()) }

func verdict(v hook.Verdict) chat.Verdict {
	return chat.Verdict{Allow: v.Allow, Failed: v.Failed && !v.Allow, Message: v.Message}
}
