package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/godwit-im/godwit/node"
)

// program finds a program of the system, or skips the test.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// place writes a file of deploy/ into dir with parts of it replaced; each must be
// there.
func place(t *testing.T, dir, name string, pairs ...string) (path string) {
	t.Helper()
	text := read(t, name)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %q to replace", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return write(t, filepath.Join(dir, filepath.Base(name)), text)
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate writes a certificate, its key, and both in one file.
func certificate(t *testing.T, dir string) (cert, key, both string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	c := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	k := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return write(t, filepath.Join(dir, "c.pem"), c), write(t, filepath.Join(dir, "k.pem"), k), write(t, filepath.Join(dir, "b.pem"), c+k)
}

func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func TestHAProxyAcceptsItsFile(t *testing.T) {
	haproxy, dir := program(t, "haproxy"), t.TempDir()
	_, _, both := certificate(t, dir)
	config := place(t, dir, "haproxy/haproxy.cfg", "/etc/haproxy/godwit.pem", both)
	if out := run(t, haproxy, "-c", "-f", config); strings.Contains(out, "WARNING") {
		t.Error(out)
	}
}

func TestNginxAcceptsItsFile(t *testing.T) {
	nginx, dir := program(t, "nginx"), t.TempDir()
	config := nginxFile(t, dir, "listen 443 ssl", "listen 127.0.0.1:8443 ssl")
	if out := run(t, nginx, "-t", "-p", dir, "-c", config); strings.Contains(out, "[warn]") {
		t.Error(out)
	}
}

// units are the systemd files, and what they call the file of the configuration.
var units = []string{"godwit.service", "godwit-edge@.service"}

// exposureMax is the most that systemd-analyze security may say, times ten: what a
// service that listens on the network can get below, and no default setting does.
const exposureMax = "15"

func TestSystemdAcceptsTheUnits(t *testing.T) {
	analyze, dir := program(t, "systemd-analyze"), t.TempDir()
	for _, unit := range units {
		path := place(t, dir, filepath.Join("systemd", unit), "/usr/bin/godwit", "/bin/true")
		if out := run(t, analyze, "verify", "--man=no", path); strings.Contains(out, "godwit") {
			t.Error(out) // an unknown setting is only a warning
		}
		out, err := exec.Command(analyze, "security", "--offline=true", "--threshold="+exposureMax, "--no-pager", path).CombinedOutput()
		switch {
		case strings.Contains(string(out), "unrecognized option"):
			t.Logf("this systemd can't judge a file: %s", out)
		case err != nil:
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}

// setting returns the last value of a setting of a unit.
func setting(t *testing.T, text, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(text, -1)
	if found == nil {
		t.Fatalf("no %s", name)
	}
	return found[len(found)-1][1]
}

// closing is what a server may take after its drain to close the store.
const closing = 15 * time.Second

func TestUnitsGiveADrainItsTime(t *testing.T) {
	for _, unit := range units {
		text := read(t, filepath.Join("systemd", unit))
		stop, err := time.ParseDuration(setting(t, text, "TimeoutStopSec") + "s")
		if least := time.Duration(node.Default().Drain.Timeout) + closing; err != nil || stop < least {
			t.Errorf("%s: TimeoutStopSec is %s (%v), want %s at least", unit, stop, err, least)
		}
		if pre, start := setting(t, text, "ExecStartPre"), setting(t, text, "ExecStart"); strings.Replace(pre, "config check", "serve", 1) != start {
			t.Errorf("%s checks with %q what it runs with %q", unit, pre, start)
		}
		if setting(t, text, "Type") != "notify" || setting(t, text, "User") == "root" {
			t.Errorf("%s: Type or User", unit)
		}
	}
}

var sysctlLine = regexp.MustCompile(`^#?(-?)([a-z][a-z0-9_]*(?:\.[a-z0-9_-]+)+) = ([0-9][0-9 ,-]*)$`)

func TestEveryKernelSettingExistsAndHasAReason(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net"); err != nil {
		t.Skip("this system has no /proc/sys")
	}
	known, reason := map[string]bool{}, false
	for n, line := range strings.Split(read(t, "sysctl/90-godwit.conf"), "\n") {
		found := sysctlLine.FindStringSubmatch(line)
		switch {
		case found != nil:
			key, optional := found[2], found[1] == "-"
			_, err := os.Stat("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
			if err != nil && !optional {
				t.Errorf("line %d: this kernel does not know %s", n+1, key)
			}
			if known[key] || !reason && key != "net.ipv4.ip_local_reserved_ports" && !strings.HasPrefix(key, "net.ipv4.tcp_keepalive_") {
				t.Errorf("line %d: %s is there twice or has no reason above it", n+1, key)
			}
			known[key], reason = true, false
		case strings.HasPrefix(line, "#"):
			reason = reason || strings.Contains(line, "efault")
		case line == "":
			reason = false
		default:
			t.Errorf("line %d is no setting: %q", n+1, line)
		}
	}
	if len(known) < 15 {
		t.Errorf("only %d settings", len(known))
	}
}
