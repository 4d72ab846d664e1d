package deploy

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/node"
	"go.yaml.in/yaml/v3"
)

// The part of the Compose Specification that our files use: what is not here is an
// unknown field, and refused.
type (
	composeFile struct {
		Name     string                    `yaml:"name"`
		Godwit   composeService            `yaml:"x-godwit"`
		TiKV     composeService            `yaml:"x-tikv"`
		Services map[string]composeService `yaml:"services"`
		Networks map[string]struct {
			Internal bool `yaml:"internal"`
			IPAM     struct {
				Config []struct {
					Subnet netip.Prefix `yaml:"subnet"`
				} `yaml:"config"`
			} `yaml:"ipam"`
		} `yaml:"networks"`
		Secrets map[string]struct {
			File string `yaml:"file"`
		} `yaml:"secrets"`
		Volumes map[string]struct{} `yaml:"volumes"`
	}
	composeService struct {
		Build struct {
			Context    string `yaml:"context"`
			Dockerfile string `yaml:"dockerfile"`
		} `yaml:"build"`
		Image       string            `yaml:"image"`
		Command     []string          `yaml:"command"`
		Environment map[string]string `yaml:"environment"`
		DependsOn   []string          `yaml:"depends_on"`
		Ports       []string          `yaml:"ports"`
		Volumes     []string          `yaml:"volumes"`
		Secrets     []string          `yaml:"secrets"`
		Networks    composeNetworks   `yaml:"networks"`
		ReadOnly    bool              `yaml:"read_only"`
		Tmpfs       []string          `yaml:"tmpfs"`
		CapDrop     []string          `yaml:"cap_drop"`
		SecurityOpt []string          `yaml:"security_opt"`
		Ulimits     map[string]struct {
			Soft int `yaml:"soft"`
			Hard int `yaml:"hard"`
		} `yaml:"ulimits"`
		Sysctls     map[string]int `yaml:"sysctls"`
		Healthcheck *struct {
			Test        []string      `yaml:"test"`
			Interval    time.Duration `yaml:"interval"`
			Timeout     time.Duration `yaml:"timeout"`
			Retries     int           `yaml:"retries"`
			StartPeriod time.Duration `yaml:"start_period"`
		} `yaml:"healthcheck"`
		Restart         string        `yaml:"restart"`
		StopGracePeriod time.Duration `yaml:"stop_grace_period"`
	}
	// composeNetworks is a list of names, or addresses by name.
	composeNetworks map[string]struct {
		Address netip.Addr `yaml:"ipv4_address"`
	}
)

func (n *composeNetworks) UnmarshalYAML(value *yaml.Node) error {
	type addresses composeNetworks
	if value.Kind != yaml.SequenceNode {
		return value.Decode((*addresses)(n))
	}
	var names []string
	if err := value.Decode(&names); err != nil {
		return err
	}
	*n = composeNetworks{}
	for _, name := range names {
		(*n)[name] = struct {
			Address netip.Addr `yaml:"ipv4_address"`
		}{}
	}
	return nil
}

func parseCompose(text string) (f composeFile, err error) {
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	return f, d.Decode(&f)
}

var (
	imagePinned = regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9]+\.[0-9]+(\.[0-9]+)?$`)
	portMapping = regexp.MustCompile(`^[0-9]{2,5}:[0-9]{2,5}$`)
)

// made are files that the head of a compose file says how to make.
var made = []string{"./secrets/", "./certs/"}

// checkCompose says what is wrong with a compose file in dir.
func checkCompose(dir string, f *composeFile) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	taken, used := map[string]string{}, map[string]bool{}
	take := func(what, by string) {
		if other, twice := taken[what]; twice {
			complain("%s and %s both have %s", other, by, what)
		}
		taken[what] = by
	}
	source := func(name, path string) {
		_, err := os.Stat(filepath.Join(dir, path))
		if err != nil && !slices.ContainsFunc(made, func(p string) bool { return strings.HasPrefix(path, p) }) {
			complain("%s: %v", name, err)
		}
	}
	for name, s := range f.Services {
		if !imagePinned.MatchString(s.Image) {
			complain("%s: the image %q is not pinned", name, s.Image)
		}
		source(name, filepath.Join(s.Build.Context, s.Build.Dockerfile))
		for _, other := range s.DependsOn {
			if _, ok := f.Services[other]; !ok || other == name {
				complain("%s depends on %q", name, other)
			}
		}
		for _, port := range s.Ports {
			if !portMapping.MatchString(port) || strings.HasSuffix(port, ":8081") {
				complain("%s publishes %q", name, port)
			}
			take("port "+strings.Split(port, ":")[0], name)
		}
		for _, volume := range s.Volumes {
			from, to, _ := strings.Cut(volume, ":")
			if _, named := f.Volumes[from]; named {
				used[from] = true
				take("volume "+from, name)
			} else if !strings.HasPrefix(from, ".") || !strings.HasSuffix(to, ":ro") {
				complain("%s: the volume %q is neither declared nor a file that is only read", name, volume)
			} else {
				source(name, from)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := f.Secrets[secret]; !ok {
				complain("%s: no secret %q", name, secret)
			}
		}
		for network, at := range s.Networks {
			if at.Address.IsValid() {
				take("address "+at.Address.String(), name)
			}
			if config := f.Networks[network].IPAM.Config; at.Address.IsValid() && (len(config) != 1 || !config[0].Subnet.Contains(at.Address)) {
				complain("%s: %s is not of %s", name, at.Address, network)
			}
			if _, ok := f.Networks[network]; !ok {
				complain("%s: no network %q", name, network)
			}
		}
		problems = append(problems, checkHardened(name, &s)...)
	}
	for volume := range f.Volumes {
		if !used[volume] {
			complain("nobody has the volume %s", volume)
		}
	}
	return problems
}

// checkHardened: our own containers have no more than they need.
func checkHardened(name string, s *composeService) (problems []string) {
	if s.Restart == "" {
		problems = append(problems, name+" is not started again")
	}
	if s.Build.Context == "" {
		return problems
	}
	h := s.Healthcheck
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Ulimits["nofile"].Hard < 1<<20 {
		problems = append(problems, name+" is not confined, or has too few files")
	}
	if h == nil || len(h.Test) < 3 || h.Test[0] != "CMD" || h.Test[1] != "/usr/bin/godwit" || h.Test[2] != "health" {
		problems = append(problems, name+" has no health check that an image without a shell can run")
	}
	if s.StopGracePeriod == 0 {
		problems = append(problems, name+" has no time to drain")
	}
	return problems
}

func TestComposeFilesAreSound(t *testing.T) {
	for _, dir := range []string{"compose/one", "compose/cluster"} {
		f, err := parseCompose(read(t, filepath.Join(dir, "compose.yaml")))
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, problem := range checkCompose(dir, &f) {
			t.Errorf("%s: %s", dir, problem)
		}
	}
}

// The checks themselves, each on one file with one fault.
func TestComposeChecksSeeWhatIsWrong(t *testing.T) {
	good := read(t, "compose/cluster/compose.yaml")
	f := func(old, bad, want string) {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("no %q", old)
		}
		file, err := parseCompose(strings.Replace(good, old, bad, 1))
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q for %q: %v, want %q", bad, old, err, want)
			}
			return
		}
		if all := strings.Join(checkCompose("compose/cluster", &file), "\n"); !strings.Contains(all, want) {
			t.Errorf("%q for %q: %q, want %q", bad, old, all, want)
		}
	}
	f("restart:", "restarts:", "restarts not found")
	f("haproxy:2.6", "haproxy:latest", "not pinned")
	f("pingcap/pd:v8.5.7", "pingcap/pd", "not pinned")
	f("depends_on: [engine]", "depends_on: [engin]", `depends on "engin"`)
	f(`"8182:8080"`, `"8181:8080"`, "both have port 8181")
	f(`"8182:8080"`, `"8182:8081"`, `publishes "8182:8081"`)
	f("10.0.0.13", "10.0.0.12", "both have address 10.0.0.12")
	f("10.0.0.13", "10.0.1.13", "10.0.1.13 is not of hosts")
	f("10.0.0.13", "10.0.0.256", "IPv4 field has value >255")
	f("./edge.yaml", "./edges.yaml", "no such file")
	f("tikv-2:/data", "tikv-3:/data", "nobody has the volume tikv-2")
	f("tikv-2:/data", "tikv2:/data", `the volume "tikv2:/data" is neither`)
	f("secrets: [keys]", "secrets: [key]", `no secret "key"`)
	f("networks: [store]", "networks: [stores]", `no network "stores"`)
	f("read_only: true", "read_only: false", "is not confined")
	f("CMD, /usr/bin/godwit", "CMD-SHELL, /usr/bin/godwit", "no health check")
	f("stop_grace_period: 90s # above", "# above", "has no time to drain")
	f("../../haproxy/haproxy.cfg", "../../haproxy.cfg", "no such file")
}

// loadMounted reads a service's configuration as the server in it would, but for
// the files that are made before the first start.
func loadMounted(t *testing.T, dir, file string, s *composeService) node.Config {
	t.Helper()
	made := t.TempDir()
	for _, name := range []string{"keys", "x.crt", "x.key", "ca.crt"} {
		write(t, filepath.Join(made, name), `keys: [{kid: main, alg: HS256, key: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}]`)
	}
	elsewhere := regexp.MustCompile(`/etc/godwit/link/[a-z0-9-]+\.(crt|key)`)
	move := func(text string) string {
		text = strings.ReplaceAll(text, "/etc/godwit/link/ca.crt", filepath.Join(made, "ca.crt"))
		return elsewhere.ReplaceAllString(strings.ReplaceAll(text, "/run/secrets/keys", filepath.Join(made, "keys")), made+"/x.$1")
	}
	path := write(t, filepath.Join(made, "godwit.yaml"), move(read(t, filepath.Join(dir, file))))
	environ := []string{"GODWIT_LISTEN=:8080", "GODWIT_OPS=:8081", "GODWIT_DATA=" + made}
	for name, value := range s.Environment {
		environ = append(environ, name+"="+move(value))
	}
	if unknown := node.UnknownEnv(environ); len(unknown) > 0 {
		t.Errorf("%s: %q mean nothing", file, unknown)
	}
	cfg, err := node.Load(path, environ)
	if err != nil {
		t.Fatalf("%s/%s: %v", dir, file, err)
	}
	if err := cfg.Validate(); err != nil {
		t.Errorf("%s/%s is refused: %v", dir, file, err)
	}
	return cfg
}

// checkMounted loads what a service mounts, and looks at its time to stop.
func checkMounted(t *testing.T, dir, service, file string) node.Config {
	t.Helper()
	compose, err := parseCompose(read(t, filepath.Join(dir, "compose.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := compose.Services[service]
	if !ok || !slices.Contains(s.Volumes, "./"+file+":/etc/godwit/godwit.yaml:ro") {
		t.Fatalf("%s: %s does not mount %s", dir, service, file)
	}
	cfg := loadMounted(t, dir, file, &s)
	if least := time.Duration(cfg.Drain.Timeout) + closing; s.StopGracePeriod < least {
		t.Errorf("%s: %s gets %s to stop, its drain may take %s", dir, service, s.StopGracePeriod, least)
	}
	return cfg
}

func TestComposeConfigurationOfOneNodeIsAccepted(t *testing.T) {
	checkMounted(t, "compose/one", "godwit", "godwit.yaml")
}
