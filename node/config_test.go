package node

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "godwit.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultsAreValidInDevelopment(t *testing.T) {
	cfg := Default()
	cfg.Dev = true
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentWinsOverFileAndFileOverDefaults(t *testing.T) {
	path := writeFile(t, "listen: 127.0.0.1:1000\nops: 127.0.0.1:1001\nlimits:\n  body: 4KiB\n  frame: 32768\nedge:\n  ping: 10s\n  origins: [https://a.example]\n")
	cfg, err := Load(path, []string{"GODWIT_OPS=127.0.0.1:2001", "GODWIT_LIMITS_BODY=8KiB", "GODWIT_EDGE_ORIGINS=https://b.example,https://c.example", "GODWIT_DEV=true", "GODWIT_NODE=", "OPS=ignored"})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.Ops, want.Dev = "127.0.0.1:1000", "127.0.0.1:2001", true
	want.Limits.Body, want.Limits.Frame = 8<<10, 32<<10
	want.Edge.Ping = Duration(10 * time.Second)
	want.Edge.Origins = []string{"https://b.example", "https://c.example"}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
}

func TestLoadRefusesWhatItDoesNotKnow(t *testing.T) {
	f := func(content, want string, environ ...string) {
		t.Helper()
		_, err := Load(writeFile(t, content), environ)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		} else if strings.Contains(err.Error(), "node.Config") {
			t.Errorf("the error speaks of Go types: %v", err)
		}
	}
	f("lisen: 127.0.0.1:1\n", "line 1: unknown field lisen")
	f("limits:\n  bodi: 1\n", "line 2: unknown field bodi")
	f("limits:\n  body: 1 MB\n", "is not a size")
	f("limits:\n  body: -1\n", "is not a size")
	f("edge:\n  ping: 25\n", "is not a duration")
	f("edge:\n  ping: -25s\n", "is not a duration")
	f("engine:\n  groups: many\n", "line 2")
	f("limits: 5\n", "line 1")
	f("listen: a\nlisten: b\n", "already defined")
	f("listen: [\n", "line 1")
	f("dev: true\n---\ndev: false\n", "more than one YAML document")
	f(strings.Repeat("# long\n", configBytesMax), "larger than")
	f("limits:\n  page: 1\n  body: 1 MB\nedge:\n  ping: 25\n  loop: 1\n", `line 5: edge.ping: "25" is not a duration`)
	f("limits:\n  page: 1\n  body: 1 MB\nedge:\n  ping: 25\n  loop: 1\n", `line 3: limits.body: "1 MB" is not a size`)
	f("engine:\n  groups: many\n", `line 2: engine.groups: "many" is not a whole number`)
	f("limits:\n  page: -1\n", `line 2: limits.page: "-1" is not a whole number from 0 on`)
	f("dev: perhaps\n", `line 1: dev: "perhaps" is not true or false`)
	f("edge:\n  origins: {a: b}\n", "line 2: edge.origins: ")
	f("data: [a]\n", "line 1: data: ")
	f("dev: perhaps\nlisen: a\n", "unknown field lisen")
	f("", `GODWIT_LIMITS_BODY (limits.body): "big" is not a size`, "GODWIT_LIMITS_BODY=big")
	f("", `GODWIT_ENGINE_GROUPS (engine.groups): "x" is not a whole number`, "GODWIT_ENGINE_GROUPS=x", "GODWIT_DEV=y")
	f("", `GODWIT_DEV (dev): "y" is not true or false`, "GODWIT_ENGINE_GROUPS=x", "GODWIT_DEV=y")
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil {
		t.Error("a missing file was accepted")
	}
}

func TestUnknownEnvironmentIsNoticed(t *testing.T) {
	got := UnknownEnv([]string{"GODWIT_LISTEN=a", "GODWIT_LISEN=b", "HOME=c", "GODWIT_LIMITS_BODY=d"})
	if !reflect.DeepEqual(got, []string{"GODWIT_LISEN"}) {
		t.Errorf("got %v", got)
	}
}

// complains checks that a change of the defaults is refused by name.
func complains(t *testing.T, want string, change func(*Config)) {
	t.Helper()
	cfg := Default()
	cfg.Dev = true
	change(&cfg)
	err := cfg.Validate()
	if err == nil {
		t.Errorf("want an error about %q", want)
	} else if !strings.HasPrefix(err.Error(), want+" ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one sentence about %q", err, want)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		complains(t, want, change)
	}
	f("listen", func(c *Config) { c.Listen = "8080" })
	f("listen", func(c *Config) { c.Listen = "127.0.0.1:http" })
	f("listen", func(c *Config) { c.Listen = "127.0.0.1:70000" })
	f("listen", func(c *Config) { c.Listen = "http://127.0.0.1:80" })
	f("ops", func(c *Config) { c.Ops = "" })
	f("ops", func(c *Config) { c.Ops = c.Listen })
	f("data", func(c *Config) { c.Data = "" })
	f("node", func(c *Config) { c.Node = "my node" })
	f("dev", func(c *Config) { c.Listen = "0.0.0.0:8080" })
	f("dev", func(c *Config) { c.Listen = ":8080" })
	f("dev", func(c *Config) { c.Listen = "10.0.0.1:8080" })
	f("dev", func(c *Config) { c.Ops = "0.0.0.0:8081" })
	f("dev", func(c *Config) { c.Ops = ":0" })
	f("auth", func(c *Config) { c.Auth.Issuer = "i" })
	f("auth.keys_file", func(c *Config) { c.Dev = false })
	f("auth.issuer", func(c *Config) { c.Dev = false; c.Auth = AuthConfig{KeysFile: "k", Audience: "a"} })
	f("auth.audience", func(c *Config) { c.Dev = false; c.Auth = AuthConfig{KeysFile: "k", Issuer: "i"} })
	f("log.level", func(c *Config) { c.Log.Level = "loud" })
	f("log.level", func(c *Config) { c.Log.Level = "info+2" })
	f("log.format", func(c *Config) { c.Log.Format = "xml" })
	f("edge.loops", func(c *Config) { c.Edge.Loops = 257 })
	f("edge.connections", func(c *Config) { c.Edge.Connections = -1 })
	f("edge.ping", func(c *Config) { c.Edge.Ping = Duration(time.Millisecond) })
	f("edge.outbound", func(c *Config) { c.Edge.Outbound = 1 })
	f("edge.memory", func(c *Config) { c.Edge.Memory = 1 << 20 })
	f("edge.handshakes", func(c *Config) { c.Edge.Handshakes = 0 })
	f("edge.per_source", func(c *Config) { c.Edge.PerSource = 0 })
	f("edge.head_timeout", func(c *Config) { c.Edge.HeadTime = 0 })
	f("edge.token_timeout", func(c *Config) { c.Edge.TokenTime = Duration(time.Hour) })
	f("edge.close_timeout", func(c *Config) { c.Edge.CloseTime = 0 })
	f("edge.deflate_min", func(c *Config) { c.Edge.DeflateMin = 0 })
	f("edge.deflate_level", func(c *Config) { c.Edge.DeflateLevel = 10 })
	f("edge.origins", func(c *Config) { c.Edge.Origins = []string{"chat.example"} })
	f("edge.origins", func(c *Config) { c.Edge.Origins = []string{"https://chat.example/"} })
	f("limits.frame", func(c *Config) { c.Limits.Frame = 17 << 20 })
	f("limits.body", func(c *Config) { c.Limits.Body = 0 })
	f("limits.body", func(c *Config) { c.Limits.Body = c.Limits.Frame })
	f("limits.inflight", func(c *Config) { c.Limits.InFlight = 0 })
	f("limits.send_per_s", func(c *Config) { c.Limits.SendPerS = 1 << 21 })
	f("limits.user_send_per_s", func(c *Config) { c.Limits.UserSendPerS = 1 << 21 })
	f("limits.frames_per_s", func(c *Config) { c.Limits.FramesPerS = 1 << 21 })
	f("limits.sessions", func(c *Config) { c.Limits.Sessions = 0 })
	f("limits.rpc", func(c *Config) { c.Limits.RPC = 0 })
	f("limits.wait", func(c *Config) { c.Limits.Wait = 301 })
	f("limits.page", func(c *Config) { c.Limits.Page = 1001 })
	f("limits.presence", func(c *Config) { c.Limits.Presence = 0 })
	f("limits.window", func(c *Config) { c.Limits.Window = 1 << 17 })
	f("engine.groups", func(c *Config) { c.Engine.Groups = 3 })
	f("engine.queue", func(c *Config) { c.Engine.Queue = 1 })
	f("engine.scrub_rate", func(c *Config) { c.Engine.ScrubRate = 1 << 41 })
	f("engine.erase_within", func(c *Config) { c.Engine.EraseWithin = 1 })
	f("drain.after", func(c *Config) { c.Drain.After = Duration(2 * time.Hour); c.Drain.Timeout = Duration(3 * time.Hour) })
	f("drain.spread", func(c *Config) { c.Drain.Spread = Duration(2 * time.Hour); c.Drain.Timeout = Duration(3 * time.Hour) })
	f("drain.timeout", func(c *Config) { c.Drain.Timeout = 0 })
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	cfg := Default()
	cfg.Listen, cfg.Data, cfg.Log.Format = "x", "", "y"
	err := cfg.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("want four complaints, got %v", err)
	}
}

func TestPrintedConfigurationReadsBack(t *testing.T) {
	cfg := Default()
	cfg.Dev = true
	cfg.Limits.Body = 5000
	cfg.Node = "007"
	cfg.Edge.Ping = Duration(90 * time.Second / 4)
	cfg.Drain.Timeout = Duration(2 * time.Minute)
	cfg.Edge.Origins = []string{"https://a.example", "*"}
	cfg.Edge.Proxies = []string{"10.0.0.0/8", "192.0.2.1"}
	cfg.Router.PD = []string{"10.0.0.1:2379", "10.0.0.2:2379"}
	var b strings.Builder
	if err := cfg.Print(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Load(writeFile(t, b.String()), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if !reflect.DeepEqual(got, cfg) {
		t.Errorf("got  %+v\nwant %+v\n%s", got, cfg, b.String())
	}
}

func TestExampleFileIsTheDefaultsForDevelopment(t *testing.T) {
	cfg := Default()
	cfg.Dev = true // else it can't be valid without keys
	var b strings.Builder
	if err := cfg.Print(&b); err != nil {
		t.Fatal(err)
	}
	want := b.String()
	got, err := os.ReadFile("../godwit.example.yaml")
	if err != nil || string(got) != want {
		t.Errorf("godwit.example.yaml is not what it should be (%v); it should hold:\n%s", err, want)
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	cfg := Default()
	count := 0
	walk(reflect.ValueOf(&cfg).Elem(), "", EnvPrefix, func(f field) {
		count++
		if len(f.doc) < 10 || !strings.HasPrefix(f.env, EnvPrefix) || f.env == EnvPrefix || strings.HasSuffix(f.path, ".") {
			t.Errorf("%s: doc %q, env %q", f.path, f.doc, f.env)
		}
	})
	if count < 20 {
		t.Errorf("only %d fields were found", count)
	}
}
