package netlab_test

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/godwit-im/godwit/internal/netlab"
)

// inside tells the second run of this test that it has a namespace of its own.
const inside = "GODWIT_NETLAB_INSIDE"

// private runs the calling test again in a fresh network namespace, once, and
// reports whether this is that run.
func private(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if missing := netlab.Missing(); missing != "" {
		t.Skip("this test needs " + missing)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	netlab.Private(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// hear returns a socket of a host.
func hear(t *testing.T, h *netlab.Host) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	var err error
	h.Do(func() { c, err = net.ListenPacket("udp4", h.Address+":7000") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// words numbers what is said: what an earlier call sent and nobody read yet must not
// be heard in a later one.
var words int

// say sends a datagram again and again until it is heard; false: it never is.
func say(t *testing.T, from, to net.PacketConn, patience time.Duration) bool {
	t.Helper()
	words++
	word, heard := strconv.Itoa(words), make([]byte, 32)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, _ = from.WriteTo([]byte(word), to.LocalAddr())
		_ = to.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			n, sender, err := to.ReadFrom(heard)
			if err != nil {
				break
			}
			if string(heard[:n]) == word && sender.String() == from.LocalAddr().String() {
				return true
			}
		}
	}
	return false
}

const (
	mustCome    = 60 * time.Second
	mustNotCome = 300 * time.Millisecond
)

func TestLinksAreCutAndHealed(t *testing.T) {
	if !private(t) {
		return
	}
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	hosts, sockets := [2]*netlab.Host{}, [2]net.PacketConn{}
	for i := range hosts {
		if hosts[i], err = lab.Host(); err != nil {
			t.Fatal(err)
		}
		sockets[i] = hear(t, hosts[i])
	}
	f := func(what string, do error, there, back bool) {
		t.Helper()
		if do != nil {
			t.Fatal(do)
		}
		patience := map[bool]time.Duration{true: mustCome, false: mustNotCome}
		if got := say(t, sockets[0], sockets[1], patience[there]); got != there {
			t.Errorf("%s: heard there: %v", what, got)
		}
		if got := say(t, sockets[1], sockets[0], patience[back]); got != back {
			t.Errorf("%s: heard back: %v", what, got)
		}
	}
	f("at first", nil, true, true)
	f("cut", hosts[1].Cut(), false, false)
	f("healed", hosts[1].Heal(), true, true)
	f("muted", hosts[0].Mute(hosts[1].Address), false, true)
	f("no longer muted", hosts[0].Unmute(hosts[1].Address), true, true)
}
