package node

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/auth"
)

// Validate refuses what can't work, each complaint in a sentence that names
// the field. All complaints are reported at once.
func (cfg *Config) Validate() error {
	var bad complaints
	cfg.checkAddresses(&bad)
	cfg.checkAuth(&bad)
	cfg.checkRole(&bad)
	cfg.checkRouter(&bad)
	cfg.checkHold(&bad)
	cfg.checkLog(&bad)
	cfg.checkTLS(&bad)
	cfg.checkEdge(&bad)
	cfg.checkLimits(&bad)
	cfg.checkRules(&bad)
	cfg.checkPresence(&bad)
	cfg.checkEngine(&bad)
	return errors.Join(bad...)
}

// complaints collects what is wrong.
type complaints []error

func (c *complaints) unless(ok bool, field, format string, args ...any) {
	if !ok {
		*c = append(*c, fmt.Errorf("%s "+format, append([]any{field}, args...)...))
	}
}

func (cfg *Config) checkAddresses(bad *complaints) {
	listenErr, opsErr := checkAddress(cfg.Listen), checkAddress(cfg.Ops)
	bad.unless(listenErr == nil, "listen", "is %q: %v", cfg.Listen, listenErr)
	bad.unless(opsErr == nil, "ops", "is %q: %v", cfg.Ops, opsErr)
	bad.unless(cfg.Listen != cfg.Ops || strings.HasSuffix(cfg.Ops, ":0"), "ops", "is %q, the same address as listen; give it a port of its own", cfg.Ops)
	bad.unless(cfg.Data != "", "data", "is empty; name the directory of everything durable")
	bad.unless(godwit.ValidID(cfg.Node), "node", "is %q; a node name is %s", cfg.Node, strings.TrimPrefix(godwit.ErrBadID.Error(), "id must be "))
	if cfg.Dev && opsErr == nil {
		bad.unless(Loopback(cfg.Ops), "dev", "is set, but ops is %q: a development server is for this machine alone; give ops a loopback address such as 127.0.0.1:8081, or unset dev", cfg.Ops)
	}
	if cfg.Dev && listenErr == nil {
		bad.unless(Loopback(cfg.Listen), "dev", "is set, but listen is %q: development tokens are accepted on a loopback address only, because their signing key lies in the data directory; listen on 127.0.0.1, or unset dev and give auth.keys_file", cfg.Listen)
	}
}

// checkAddress accepts host:port with a numeric port and no zone tricks.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("it must be host:port, such as 127.0.0.1:8080 or :8080")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("the port must be a number from 0 to 65535")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return unicode.IsSpace(r) || r == '/' }) {
		return errors.New("the host must be a name or an IP address")
	}
	return nil
}

// Loopback reports whether only this machine can reach the address.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (cfg *Config) checkAuth(bad *complaints) {
	a := &cfg.Auth
	given := a.KeysFile != "" || a.JWKSURL != "" || a.Issuer != "" || a.Audience != ""
	bad.unless(between(a.Cache, 0, 1<<24), "auth.cache", "is %d; it must be 0 to 16777216", a.Cache)
	if cfg.Dev {
		bad.unless(!given, "auth", "is given together with dev; a node believes either your keys or development tokens")
		return
	}
	bad.unless(a.KeysFile != "" || a.JWKSURL != "", "auth.keys_file", "is empty, and so is auth.jwks_url; give the keys that sign your users' tokens, or set dev for development tokens on a loopback address")
	if a.JWKSURL != "" {
		err := auth.CheckJWKSURL(a.JWKSURL)
		bad.unless(err == nil, "auth.jwks_url", "is %q; it %v", a.JWKSURL, err)
		bad.unless(between(time.Duration(a.JWKSRefresh), auth.RefreshMin, auth.RefreshMax), "auth.jwks_refresh", "is %s; it must be 1m to 24h", a.JWKSRefresh)
	}
	if given {
		bad.unless(a.Issuer != "", "auth.issuer", "is empty; name the iss that tokens must carry")
		bad.unless(a.Audience != "", "auth.audience", "is empty; name the aud that tokens must carry")
	}
}

func (cfg *Config) checkLog(bad *complaints) {
	var level slog.Level
	known := level.UnmarshalText([]byte(cfg.Log.Level)) == nil && !strings.ContainsAny(cfg.Log.Level, "+-")
	bad.unless(known, "log.level", "is %q; it must be debug, info, warn or error", cfg.Log.Level)
	bad.unless(cfg.Log.Format == "text" || cfg.Log.Format == "json", "log.format", "is %q; it must be text or json", cfg.Log.Format)
}

func (cfg *Config) checkTLS(bad *complaints) {
	t := &cfg.TLS
	if t.Cert == "" {
		bad.unless(t.Key == "", "tls.key", "is given without tls.cert; TLS needs both")
		return
	}
	bad.unless(t.Key != "", "tls.cert", "is given without tls.key; TLS needs both")
	err := checkAddress(t.Listen)
	bad.unless(err == nil, "tls.listen", "is %q: %v", t.Listen, err)
	for _, other := range []struct{ field, address string }{{"listen", cfg.Listen}, {"ops", cfg.Ops}} {
		bad.unless(t.Listen != other.address || strings.HasSuffix(t.Listen, ":0"), "tls.listen", "is %q, the same address as %s; give it a port of its own", t.Listen, other.field)
	}
	if cfg.Dev && err == nil {
		bad.unless(Loopback(t.Listen), "dev", "is set, but tls.listen is %q: development tokens are accepted on a loopback address only; listen on 127.0.0.1:8443, or unset dev and give auth.keys_file", t.Listen)
	}
}

// proxies parses edge.trusted_proxies, an address standing for itself alone.
func (e *EdgeConfig) proxies() (all []netip.Prefix, err error) {
	for _, text := range e.Proxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("%q", text)
			}
			prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		all = append(all, prefix.Masked())
	}
	return all, nil
}

func (cfg *Config) checkEdge(bad *complaints) {
	e := &cfg.Edge
	bad.unless(e.Loops >= 0 && e.Loops <= 64, "edge.loops", "is %d; it must be 0 to 64", e.Loops)
	bad.unless(e.Connections >= 0, "edge.connections", "is %d; it must not be negative", e.Connections)
	bad.unless(between(time.Duration(e.Ping), time.Second, 40*time.Second), "edge.ping", "is %s; it must be 1s to 40s", e.Ping)
	bad.unless(between(e.Outbound, 128<<10, 1<<30), "edge.outbound", "is %s; it must be 128KiB to 1GiB", e.Outbound)
	bad.unless(between(e.DeflateMin, 1, 1<<20), "edge.deflate_min", "is %s; it must be 1 to 1MiB", e.DeflateMin)
	bad.unless(between(e.DeflateLevel, 1, 9), "edge.deflate_level", "is %d; it must be 1 to 9", e.DeflateLevel)
	bad.unless(e.Memory == 0 || between(e.Memory, memoryMin, 1<<50), "edge.memory", "is %s; it must be 0 or at least 64MiB", e.Memory)
	bad.unless(between(e.Handshakes, 1, 1<<20), "edge.handshakes", "is %d; it must be 1 to 1048576", e.Handshakes)
	bad.unless(between(e.PerSource, 1, 1<<30), "edge.per_source", "is %d; it must be 1 to 1073741824", e.PerSource)
	for _, t := range []struct {
		name  string
		value Duration
	}{{"head", e.HeadTime}, {"token", e.TokenTime}, {"close", e.CloseTime}} {
		bad.unless(between(time.Duration(t.value), time.Second, time.Minute), "edge."+t.name+"_timeout", "is %s; it must be 1s to 1m", t.value)
	}
	_, err := e.proxies()
	bad.unless(err == nil, "edge.trusted_proxies", "holds %v; give addresses such as 10.0.0.7 or networks such as 10.0.0.0/8", err)
	for _, origin := range e.Origins {
		scheme, host, ok := strings.Cut(origin, "://")
		ok = ok && (scheme == "http" || scheme == "https") && host != "" && !strings.ContainsAny(host, "/?# ")
		bad.unless(ok || origin == "*", "edge.origins", "holds %q; an origin is scheme://host[:port] without a path, or *", origin)
	}
	d := &cfg.Drain
	bad.unless(time.Duration(d.After) <= time.Hour, "drain.after", "is %s; it must be at most 1h", d.After)
	bad.unless(time.Duration(d.Spread) <= time.Hour, "drain.spread", "is %s; it must be at most 1h", d.Spread)
	bad.unless(d.Timeout >= d.After+d.Spread && time.Duration(d.Timeout) <= 3*time.Hour, "drain.timeout", "is %s; it must cover drain.after and drain.spread, at most 3h", d.Timeout)
}

func (cfg *Config) checkLimits(bad *complaints) {
	l := &cfg.Limits
	bad.unless(between(l.Frame, 256, 16<<20), "limits.frame", "is %s; it must be 256 to 16MiB", l.Frame)
	bad.unless(between(l.Body, 1, 512<<10), "limits.body", "is %s; it must be 1 to 512KiB", l.Body)
	bad.unless(l.Body < l.Frame, "limits.body", "is %s; it must be below limits.frame (%s)", l.Body, l.Frame)
	bad.unless(between(l.InFlight, 1, 1<<15), "limits.inflight", "is %d; it must be 1 to 32768", l.InFlight)
	bad.unless(l.SendPerS <= 1<<20, "limits.send_per_s", "is %d; it must be at most 1048576", l.SendPerS)
	bad.unless(l.UserSendPerS <= 1<<20, "limits.user_send_per_s", "is %d; it must be at most 1048576", l.UserSendPerS)
	bad.unless(l.GroupSendPerS <= 1<<20, "limits.group_send_per_s", "is %d; it must be at most 1048576", l.GroupSendPerS)
	bad.unless(l.FramesPerS <= 1<<20, "limits.frames_per_s", "is %d; it must be at most 1048576", l.FramesPerS)
	bad.unless(between(l.Sessions, 1, 1024), "limits.sessions", "is %d; it must be 1 to 1024", l.Sessions)
	bad.unless(between(l.RPC, 1, 1000), "limits.rpc", "is %d; it must be 1 to 1000", l.RPC)
	bad.unless(between(l.Wait, 1, 300), "limits.wait", "is %d; it must be 1 to 300", l.Wait)
	bad.unless(between(l.Page, 1, 1000), "limits.page", "is %d; it must be 1 to 1000", l.Page)
	bad.unless(between(l.Presence, 1, 1000), "limits.presence", "is %d; it must be 1 to 1000", l.Presence)
	bad.unless(l.Watch <= 1000, "limits.watch", "is %d; it must be at most 1000", l.Watch)
	bad.unless(between(l.Window, 1, 1<<16), "limits.window", "is %d; it must be 1 to 65536", l.Window)
}

func (cfg *Config) checkPresence(bad *complaints) {
	p := &cfg.Presence
	bad.unless(p.Visible == PresenceContacts || p.Visible == PresenceAll, "presence.visible", "is %q; it must be contacts or all", p.Visible)
	bad.unless(between(p.PerS, 10, 1_000_000), "presence.per_s", "is %d; it must be 10 to 1000000", p.PerS)
	bad.unless(between(time.Duration(p.Debounce), 500*time.Millisecond, time.Minute), "presence.debounce", "is %s; it must be 500ms to 1m", p.Debounce)
}

func (cfg *Config) checkEngine(bad *complaints) {
	e := &cfg.Engine
	bad.unless(between(e.Groups, 1, godwit.Partitions) && e.Groups&(e.Groups-1) == 0, "engine.groups", "is %d; it must be a power of two from 1 to %d", e.Groups, godwit.Partitions)
	bad.unless(between(e.Memtable, 1<<20, 1<<40), "engine.memtable", "is %s; it must be at least 1MiB", e.Memtable)
	bad.unless(between(e.WAL, 64<<20, 1<<40), "engine.wal", "is %s; it must be at least 64MiB", e.WAL)
	bad.unless(between(e.Cache, 1<<20, 1<<40), "engine.cache", "is %s; it must be at least 1MiB", e.Cache)
	bad.unless(between(e.Recent, 1<<20, 1<<40), "engine.recent", "is %s; it must be at least 1MiB", e.Recent)
	bad.unless(between(e.RowCache, 1<<20, 1<<40), "engine.row_cache", "is %s; it must be at least 1MiB", e.RowCache)
	bad.unless(between(e.ScrubRate, 0, 1<<40), "engine.scrub_rate", "is %s; it must be at most 1024GiB", e.ScrubRate)
	bad.unless(between(time.Duration(e.EraseWithin), time.Second, 720*time.Hour), "engine.erase_within", "is %s; it must be 1s to 720h", e.EraseWithin)
	bad.unless(between(e.Queue, 1<<20, 1<<40), "engine.queue", "is %s; it must be at least 1MiB", e.Queue)
}

func between[T int | uint32 | Size | time.Duration](v, low, high T) bool {
	return v >= low && v <= high
}
