package deploy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godwit-im/godwit/internal/loopback"
)

// hosts are web servers that say who they are, in the place of edges.
func hosts(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, i) })}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = s.Serve(l)
		}()
		t.Cleanup(func() {
			_ = s.Close()
			<-ended
		})
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// share asks a proxy for each key's edge.
func share(t *testing.T, address string, argv ...string) (of []string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // its own certificate, on loopback
	defer client.CloseIdleConnections()
	const keys = 600
	for late := time.Now().Add(time.Minute); len(of) < keys; {
		reply, err := client.Get(fmt.Sprintf("https://%s/v1/ws?x=1&rk=%04x", address, len(of)*109%65536))
		if err != nil { // it does not listen yet
			select {
			case <-ended:
				t.Fatalf("%s ended: %s", argv[0], &log)
			default:
			}
			if time.Now().After(late) {
				t.Fatalf("%s: %v", argv[0], err)
			}
			continue
		}
		b, _ := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		if reply.StatusCode != http.StatusOK {
			t.Fatalf("%s, %s", reply.Status, &log)
		}
		of = append(of, string(b))
	}
	return of
}

// checkShares: each of three edges has its part of the keys, and a list without
// one of them moves that one's keys alone.
func checkShares(t *testing.T, three, two []string) {
	t.Helper()
	count, moved := map[string]int{}, 0
	for i, edge := range three {
		count[edge]++
		if edge != two[i] && edge != "2" {
			moved++
		}
		if two[i] == "2" {
			t.Fatal("an edge that is not in the list")
		}
	}
	for _, edge := range []string{"0", "1", "2"} {
		if n := count[edge]; n < len(three)/5 {
			t.Errorf("edge %s has %d of %d keys", edge, n, len(three))
		}
	}
	if moved > 0 {
		t.Errorf("%d keys of other edges moved", moved)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := loopback.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestHAProxySharesTheKeysEvenlyAndForGood(t *testing.T) {
	haproxy, edges := program(t, "haproxy"), hosts(t, 3)
	f := func(more ...string) []string {
		dir, address := t.TempDir(), freeAddress(t)
		_, _, both := certificate(t, dir)
		// These know no PROXY header and no readiness.
		pairs := []string{
			"/etc/haproxy/godwit.pem", both, "bind :443 ", "bind " + address + " ", "maxconn 100000", "maxconn 1000", "default-server send-proxy-v2 check inter 2s fall 2 rise 1 port 8081\n", "",
			"10.0.0.11:8080", edges[0], "10.0.0.12:8080", edges[1],
		}
		return share(t, address, haproxy, "-db", "-f", place(t, dir, "haproxy/haproxy.cfg", append(pairs, more...)...))
	}
	checkShares(t, f("10.0.0.13:8080", edges[2]), f("    server edge3 10.0.0.13:8080\n", ""))
}

func TestNginxSharesTheKeysEvenlyAndForGood(t *testing.T) {
	nginx, edges := program(t, "nginx"), hosts(t, 3)
	f := func(more ...string) []string {
		dir, address := t.TempDir(), freeAddress(t)
		config := nginxFile(t, dir, append([]string{"listen 443 ssl", "listen " + address + " ssl", "10.0.0.11:8080", edges[0], "10.0.0.12:8080", edges[1]}, more...)...)
		return share(t, address, nginx, "-g", "daemon off;", "-p", dir, "-c", config)
	}
	third := "server 10.0.0.13:8080 max_fails=1 fail_timeout=5s;"
	checkShares(t, f("10.0.0.13:8080", edges[2]), f(third, ""))
}

// nginxFile places the configuration with its files in dir.
func nginxFile(t *testing.T, dir string, pairs ...string) (path string) {
	t.Helper()
	cert, key, _ := certificate(t, dir)
	return place(t, dir, "nginx/nginx.conf", append(pairs, "/etc/nginx/godwit.crt", cert, "/etc/nginx/godwit.key", key,
		"/run/nginx.pid", filepath.Join(dir, "pid"), "/var/log/nginx/error.log", "stderr",
		"access_log off;", "access_log off; client_body_temp_path "+dir+"/body; proxy_temp_path "+dir+"/proxy; fastcgi_temp_path "+dir+"/fastcgi; uwsgi_temp_path "+dir+"/uwsgi; scgi_temp_path "+dir+"/scgi;")...)
}
