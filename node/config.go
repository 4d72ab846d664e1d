package node

import (
	"context"
	"log/slog"
	"net/http"
	"os/exec"
	"time"

	"github.com/godwit-im/godwit/auth"
	"github.com/godwit-im/godwit/engine"
	"github.com/godwit-im/godwit/router"
)

// Config is everything one process can be told. A value comes from the
// defaults, then the YAML file, then the environment (GODWIT_ and the path in
// capitals, GODWIT_LIMITS_BODY for limits.body), then flags: the last one wins.
//
// The doc tags are the reference: `godwit config print` writes them.
type Config struct {
	Listen string `yaml:"listen" env:"LISTEN" doc:"Public address, host:port: WebSocket and the page. Port 0 takes a free one."`
	Ops    string `yaml:"ops" env:"OPS" doc:"Address of /healthz, /readyz, /metrics and, for this machine alone, /v1/backup. It has no access control: keep it on a loopback or private address."`
	Data   string `yaml:"data" env:"DATA" doc:"Directory of everything durable. One process at a time holds it."`
	Node   string `yaml:"node" env:"NODE" doc:"Name of this node in connect replies and logs."`
	Role   string `yaml:"role" env:"ROLE" doc:"all: clients and store in one process. engine: the store, clients are held by edge processes. edge: clients alone, see link.upstream."`
	Edges  int    `yaml:"edges" env:"EDGES" doc:"Edge processes that this process starts, on one shared public port; it is their engine itself. 0: none."`
	Dev    bool   `yaml:"dev" env:"DEV" doc:"Believe tokens signed with DATA/dev-signing-key. For development: loopback addresses only."`

	Log       LogConfig       `yaml:"log" envPrefix:"LOG_" doc:"The log goes to standard error."`
	Auth      AuthConfig      `yaml:"auth" envPrefix:"AUTH_" doc:"Whose tokens to believe. Required unless dev is set."`
	Admin     AdminConfig     `yaml:"admin" envPrefix:"ADMIN_" doc:"The operators' API, /v1/admin on the ops address."`
	TLS       TLSConfig       `yaml:"tls" envPrefix:"TLS_" doc:"wss:// and https:// by this process itself; docs/tls.md has the cost, and the proxies that do it instead."`
	Edge      EdgeConfig      `yaml:"edge" envPrefix:"EDGE_" doc:"Client connections."`
	Limits    LimitsConfig    `yaml:"limits" envPrefix:"LIMITS_" doc:"What every client is told at connect and held to."`
	Presence  PresenceConfig  `yaml:"presence" envPrefix:"PRESENCE_" doc:"Who is shown as online to whom, and how much that may cost."`
	Policy    PolicyConfig    `yaml:"policy" envPrefix:"POLICY_" doc:"Rules that bind users."`
	Hook      HookConfig      `yaml:"hook" envPrefix:"HOOK_" doc:"A service of yours that is asked before a message is stored."`
	Retention RetentionConfig `yaml:"retention" envPrefix:"RETENTION_" doc:"How long messages are kept."`
	Engine    EngineConfig    `yaml:"engine" envPrefix:"ENGINE_" doc:"The store."`
	Router    RouterConfig    `yaml:"router" envPrefix:"ROUTER_" doc:"The directory of a cluster: which edge processes there are, where the engine process is, who is where."`
	Link      LinkConfig      `yaml:"link" envPrefix:"LINK_" doc:"What joins an engine process and edge processes."`
	Drain     DrainConfig     `yaml:"drain" envPrefix:"DRAIN_" doc:"What happens on SIGTERM."`

	// Logger replaces the one Log describes; Clock (default time.Now) is for tests.
	Logger *slog.Logger     `yaml:"-" env:"-"`
	Clock  func() time.Time `yaml:"-" env:"-"`
	// Program is this program's version, for backups.
	Program string `yaml:"-" env:"-"`
	// Static serves paths that are not of the protocol; nil serves nothing.
	Static func(path string) (contentType string, body []byte, ok bool) `yaml:"-" env:"-"`
	// EchoPath serves a WebSocket echo without access control; only with Dev.
	EchoPath string `yaml:"-" env:"-"`
	// OpsRoutes are added to the ops endpoint, by pattern of http.ServeMux.
	OpsRoutes map[string]http.Handler `yaml:"-" env:"-"`

	// EdgeCommand makes the command of an edge process, for Edges.
	EdgeCommand func(EdgeProcess) *exec.Cmd `yaml:"-" env:"-"`

	// openStore stands in for TiKV in tests.
	openStore func(context.Context, *RouterConfig, *slog.Logger) (router.Store, error) `yaml:"-" env:"-"`
	// tuneEngine changes what the store is opened with: tests give it a failing disk.
	tuneEngine func(*engine.Config) `yaml:"-" env:"-"`
	// answerSeconds is chat's, 0: the default. Tests wait longer than clients need to.
	answerSeconds int `yaml:"-" env:"-"`
	// certificateLooks stands in for the ticker that has the TLS files looked at.
	certificateLooks <-chan time.Time `yaml:"-" env:"-"`
}

// LogConfig says what is logged and how.
type LogConfig struct {
	Level  string `yaml:"level" env:"LEVEL" doc:"debug, info, warn or error."`
	Format string `yaml:"format" env:"FORMAT" doc:"text or json."`
}

// AuthConfig says whose tokens are believed.
type AuthConfig struct {
	KeysFile    string   `yaml:"keys_file" env:"KEYS_FILE" doc:"YAML or JSON file {keys: [{kid, alg: EdDSA|ES256|RS256|HS256, key}]}, or a JWK Set."`
	JWKSURL     string   `yaml:"jwks_url" env:"JWKS_URL" doc:"Address of the issuer's JWK Set, https, or http on a loopback host: more keys, or all. It is read in the background."`
	JWKSRefresh Duration `yaml:"jwks_refresh" env:"JWKS_REFRESH" doc:"How often jwks_url is read at least, 1m to 24h: so long may a key that was taken back be believed."`
	Issuer      string   `yaml:"issuer" env:"ISSUER" doc:"Required iss of every token."`
	Audience    string   `yaml:"audience" env:"AUDIENCE" doc:"Required among the aud of every token."`
	Cache       int      `yaml:"cache" env:"CACHE" doc:"Verified tokens remembered, about 100 bytes each, so that long-polling and reconnecting cost no signature. 0: none."`
}

// EdgeConfig tunes client connections.
type EdgeConfig struct {
	Loops        int      `yaml:"loops" env:"LOOPS" doc:"Event loops, 1 to 64; each occupies a core while it waits. 0: one less than there are cores, at least 1."`
	Connections  int      `yaml:"connections" env:"CONNECTIONS" doc:"Connections held at once; more are refused with 503. 0: as many as open files allow."`
	Ping         Duration `yaml:"ping" env:"PING" doc:"Mean time between pings, 1s to 40s. Shorter finds lost clients sooner, longer spares batteries."`
	Outbound     Size     `yaml:"outbound" env:"OUTBOUND" doc:"Bytes that may wait for a slow reader before it is closed with 4202; it resumes and loses nothing."`
	Memory       Size     `yaml:"memory" env:"MEMORY" doc:"Memory this process may use, at least 64MiB. From 7/8 of it on newcomers are told to come back, above it the slowest readers are closed with 4202. 0: three quarters of the machine's or the container's."`
	Handshakes   int      `yaml:"handshakes" env:"HANDSHAKES" doc:"Sessions whose token is being verified or that are being opened at once; more are told to come back, each at a time of its own."`
	PerSource    int      `yaml:"per_source" env:"PER_SOURCE" doc:"Sockets of one address (IPv6: one /64) that have not shown a good token; more are refused with 429."`
	HeadTime     Duration `yaml:"head_timeout" env:"HEAD_TIMEOUT" doc:"A request's head must have arrived within this, 1s to 1m."`
	TokenTime    Duration `yaml:"token_timeout" env:"TOKEN_TIMEOUT" doc:"The connect frame must have arrived within this of the upgrade, 1s to 1m."`
	CloseTime    Duration `yaml:"close_timeout" env:"CLOSE_TIMEOUT" doc:"A connection is cut when the client has not answered a close within this, 1s to 1m."`
	Deflate      bool     `yaml:"deflate" env:"DEFLATE" doc:"Compress messages (permessage-deflate) with clients that offer it. Saves bandwidth, costs CPU for every message; idle connections cost no more."`
	DeflateMin   Size     `yaml:"deflate_min" env:"DEFLATE_MIN" doc:"Messages below it are sent as they are, 1 to 1MiB."`
	DeflateLevel int      `yaml:"deflate_level" env:"DEFLATE_LEVEL" doc:"1 (fast) to 9 (small)."`
	Proxies      []string `yaml:"trusted_proxies" env:"TRUSTED_PROXIES" doc:"Addresses or networks, such as 10.0.0.0/8, of proxies that send the PROXY protocol, version 2: their connections must begin with its header and count as the client it names."`
	ReusePort    bool     `yaml:"reuse_port" env:"REUSE_PORT" doc:"Share the public port with other edge processes of this machine; set it in all of them."`
	Advertise    string   `yaml:"advertise" env:"ADVERTISE" doc:"URL of the WebSocket by which clients reach this very process, which GET /v1/edges then names: ws://HOST/v1/ws or wss://HOST/v1/ws. Empty: as the client asked, or made of listen."`
	Zone         string   `yaml:"zone" env:"ZONE" doc:"Where this process stands, for GET /v1/edges. Empty: not said."`
	Origins      []string `yaml:"origins" env:"ORIGINS" doc:"Origins of web pages that may connect beside the page's own host, such as https://chat.example. * allows all."`
}

// LimitsConfig is what clients are held to.
type LimitsConfig struct {
	Frame         Size   `yaml:"frame" env:"FRAME" doc:"Bytes of one inbound message, 256 to 16MiB."`
	Body          Size   `yaml:"body" env:"BODY" doc:"Bytes of one message body; below limits.frame, at most 512KiB."`
	InFlight      uint32 `yaml:"inflight" env:"INFLIGHT" doc:"Requests of one session not yet answered, 1 to 32768."`
	SendPerS      uint32 `yaml:"send_per_s" env:"SEND_PER_S" doc:"Sustained sends per second of one session. 0: not limited."`
	UserSendPerS  uint32 `yaml:"user_send_per_s" env:"USER_SEND_PER_S" doc:"Sustained sends per second of one user over all sessions. 0: not limited."`
	GroupSendPerS uint32 `yaml:"group_send_per_s" env:"GROUP_SEND_PER_S" doc:"Sustained sends per second to one group by all its members. 0: not limited."`
	FramesPerS    uint32 `yaml:"frames_per_s" env:"FRAMES_PER_S" doc:"Sustained frames per second from one session, each counted once for every 4KiB it begins. Two seconds' worth may come at once; who goes on for twice as much is closed with 4201. 0: not limited."`
	Sessions      uint32 `yaml:"sessions" env:"SESSIONS" doc:"Sessions of one user, 1 to 1024, one for each device; the oldest gives way with 4004."`
	RPC           uint32 `yaml:"rpc" env:"RPC" doc:"Commands of one POST /v1/rpc, 1 to 1000."`
	Wait          uint32 `yaml:"wait" env:"WAIT" doc:"Seconds for which GET /v1/poll may be held, 1 to 300."`
	Page          uint32 `yaml:"page" env:"PAGE" doc:"Entries of one sync or history page, 1 to 1000."`
	Presence      uint32 `yaml:"presence" env:"PRESENCE" doc:"Users of one presence request, 1 to 1000."`
	Watch         uint32 `yaml:"watch" env:"WATCH" doc:"Users whose presence one device may watch, at most 1000. 0: nobody may watch."`
	Window        uint32 `yaml:"window" env:"WINDOW" doc:"Events sent and not yet acknowledged before a session's replay pauses, 1 to 65536."`
}

// PresenceConfig says who is shown as online.
type PresenceConfig struct {
	Visible  string   `yaml:"visible" env:"VISIBLE" doc:"contacts: a user is shown to those he has a conversation or is in a group with (channels are none), and to his contacts. all: to everybody. Never to those he blocks."`
	PerS     uint32   `yaml:"per_s" env:"PER_S" doc:"Presence frames a second to the sessions of one edge process, 10 to 1000000. What is above it waits, and is sent as it is then."`
	Debounce Duration `yaml:"debounce" env:"DEBOUNCE" doc:"How long after a user's last session ended he is shown as offline, if none came meanwhile, 500ms to 1m. It bridges the gap between two polls."`
}

// EngineConfig tunes the store.
type EngineConfig struct {
	Groups      int      `yaml:"groups" env:"GROUPS" doc:"Raft groups, a power of two up to 1024. Fixed when the data directory is made; 1 makes a message one commit."`
	Queue       Size     `yaml:"queue" env:"QUEUE" doc:"Bytes of commands not yet applied; beyond it sends are answered with unavailable."`
	Memtable    Size     `yaml:"memtable" env:"MEMTABLE" doc:"Memory of new entries and changed rows before they move to segments; at twice as much sends wait."`
	WAL         Size     `yaml:"wal" env:"WAL" doc:"Bound of the write-ahead log's files; at half of it what holds them is moved to segments."`
	Cache       Size     `yaml:"cache" env:"CACHE" doc:"Memory for blocks of segments that were read."`
	Recent      Size     `yaml:"recent" env:"RECENT" doc:"Memory for the newest messages of users who are or lately were online."`
	RowCache    Size     `yaml:"row_cache" env:"ROW_CACHE" doc:"Memory for rows on disk that were read."`
	ScrubRate   Size     `yaml:"scrub_rate" env:"SCRUB_RATE" doc:"Bytes per second at which segments are read again, each once a week, to find damage on disk. 0: they are not."`
	EraseWithin Duration `yaml:"erase_within" env:"ERASE_WITHIN" doc:"What was erased is gone from the disk within this, 1s to 720h; it is invisible at once."`
	Compress    bool     `yaml:"compress" env:"COMPRESS" doc:"Compress segments with zstd."`
}

// LinkConfig joins an engine process and its edge processes.
type LinkConfig struct {
	Listen     string `yaml:"listen" env:"LISTEN" doc:"Where an engine process takes edge processes: unix:PATH or HOST:PORT. With edges it may be empty: a socket in the data directory."`
	Upstream   string `yaml:"upstream" env:"UPSTREAM" doc:"The engine process of an edge process: unix:PATH or HOST:PORT."`
	Cert       string `yaml:"cert" env:"CERT" doc:"PEM file of this process's certificate on the link and of those between it and its authority, with the name godwit://CLUSTER/ROLE/NODE: router.cluster, engine or edge, node. Required unless the address is a socket file or a loopback address. It and the next two are read again when they change."`
	Key        string `yaml:"key" env:"KEY" doc:"PEM file of its private key."`
	CA         string `yaml:"ca" env:"CA" doc:"PEM file of the authorities that the other side's certificate may come from."`
	Advertise  string `yaml:"advertise" env:"ADVERTISE" doc:"Where edge processes on other machines reach an engine process, HOST:PORT, for the directory. Empty: made of link.listen."`
	SecretFile string `yaml:"secret_file" env:"SECRET_FILE" doc:"File with a secret of at least 16 bytes that both sides share, beside certificates or on this machine alone."`

	Hold         Duration `yaml:"hold" env:"HOLD" doc:"How long an edge process keeps its sessions while its engine process is away, at most 1h: clients notice a pause. 0: they are closed at once, and resume."`
	AnnouncePerS int      `yaml:"announce_per_s" env:"ANNOUNCE_PER_S" doc:"Sessions that an edge process opens again each second when its engine process is back, 1 to 1000000."`
}

// DrainConfig is how a node goes down.
type DrainConfig struct {
	After   Duration `yaml:"after" env:"AFTER" doc:"When told to move, clients wait this long first."`
	Spread  Duration `yaml:"spread" env:"SPREAD" doc:"… and then move at a random moment within this. With many nodes behind a balancer give a minute."`
	Timeout Duration `yaml:"timeout" env:"TIMEOUT" doc:"Sessions still open after this are closed with 4300."`
}

// Default returns the configuration of a node that was told nothing.
func Default() Config {
	return Config{
		Listen: "127.0.0.1:8080",
		Ops:    "127.0.0.1:8081",
		Data:   "godwit-data",
		Node:   "node-1",
		TLS:    TLSConfig{Listen: ":8443"},
		Role:   RoleAll,
		Log:    LogConfig{Level: "info", Format: "text"},
		Auth:   AuthConfig{JWKSRefresh: Duration(auth.RefreshDefault), Cache: 1 << 16},
		Edge: EdgeConfig{
			Ping:         Duration(25 * time.Second),
			Outbound:     2 << 20,
			DeflateMin:   128,
			DeflateLevel: 1,
			Handshakes:   1024,
			PerSource:    1024,
			HeadTime:     Duration(5 * time.Second),
			TokenTime:    Duration(5 * time.Second),
			CloseTime:    Duration(5 * time.Second),
		},
		Limits: LimitsConfig{
			Frame: 64 << 10, Body: 16 << 10, InFlight: 64, UserSendPerS: 1000, GroupSendPerS: 1000, FramesPerS: 1000, Sessions: 32,
			RPC: 50, Wait: 60, Page: 100, Presence: 100, Watch: 500, Window: 512,
		},
		Router:   defaultRouter(),
		Policy:   defaultPolicy(),
		Hook:     defaultHook(),
		Presence: PresenceConfig{Visible: PresenceContacts, PerS: 2000, Debounce: Duration(4 * time.Second)},
		Engine: EngineConfig{
			Groups: 1, Queue: 64 << 20, Memtable: 64 << 20, WAL: 768 << 20, Cache: 64 << 20, Recent: 64 << 20, RowCache: 32 << 20,
			ScrubRate: 4 << 20, EraseWithin: Duration(time.Hour), Compress: true,
		},
		Link:  LinkConfig{Hold: Duration(time.Minute), AnnouncePerS: 5000},
		Drain: DrainConfig{Spread: Duration(2 * time.Second), Timeout: Duration(5 * time.Second)},
	}
}
