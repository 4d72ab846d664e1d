package conformance

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// gnet's package-level worker pool, started by its init and unused here.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

// full asks for as many messages as the public list sends: `make conformance`.
var full = os.Getenv("GODWIT_CONFORMANCE") == "full"

// counts is how many messages a case sends that measures as much as it checks.
func counts(all, few int) int {
	if full {
		return all
	}
	return few
}

// nobody stands for the chat tier and the verifier: the echo endpoint asks neither.
type nobody struct{}

func (nobody) Connect(godwit.SessionID, edge.Hello)                         {}
func (nobody) Disconnect(godwit.SessionID, godwit.UserID, string)           {}
func (nobody) Request(godwit.SessionID, godwit.UserID, *godwit.ClientFrame) {}
func (nobody) Fetch(godwit.SessionID, godwit.UserID, godwit.Seq, int, int)  {}
func (nobody) Verify([]byte) (godwit.Identity, error)                       { return godwit.Identity{}, errors.New("nobody") }

// startEcho returns the address of an edge in this process, or of a server that
// runs already, built with -tags conformance.
func startEcho(t *testing.T) (addr string) {
	t.Helper()
	if running := os.Getenv("GODWIT_CONFORMANCE_ADDR"); running != "" {
		return running
	}
	e, err := edge.New(edge.Config{
		Listen: "127.0.0.1:0", Loops: 1, Chat: nobody{}, Verifier: nobody{}, EchoPath: "/echo",
		Deflate: edge.DeflateConfig{Enabled: true}, HeadTimeout: waitMax, CloseTimeout: waitMax, IdleTimeout: waitMax,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return e.Addr()
}

// TestAutobahnCases runs the public list. NON-STRICT is what that list calls a
// server that is right in the end but later than it could be.
func TestAutobahnCases(t *testing.T) {
	const listed = 517
	addr := startEcho(t)
	list := cases()
	if len(list) != listed {
		t.Errorf("%d cases, and the list has %d", len(list), listed)
	}
	ids := map[string]bool{}
	ok, late, failed := 0, 0, 0
	for _, c := range list {
		if ids[c.id] {
			t.Errorf("case %s comes twice", c.id)
		}
		ids[c.id] = true
		switch v := play(addr, c); {
		case v == nil:
			ok++
		case v.nonStrict:
			late++
			t.Errorf("case %s is NON-STRICT: %s", c.id, v.reason)
		default:
			failed++
			t.Errorf("case %s FAILED: %s", c.id, v.reason)
		}
	}
	t.Logf("%d cases: %d OK, %d NON-STRICT, %d FAILED", len(list), ok, late, failed)
}

func play(addr string, c testCase) (v *verdict) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case verdict:
			v = &r
		default:
			panic(r)
		}
	}()
	p := dial(addr, c.offer)
	defer func() { _ = p.conn.Close() }()
	c.run(p)
	return nil
}

// TestCasesAreNumberedAsInThePublicList counts them group by group.
func TestCasesAreNumberedAsInThePublicList(t *testing.T) {
	want := map[string]int{
		"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20, "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4,
		"6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3,
		"6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7,
		"7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
		"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6, "10.1": 1,
		"12.1": 18, "12.2": 18, "12.3": 18, "12.4": 18, "12.5": 18,
		"13.1": 18, "13.2": 18, "13.3": 18, "13.4": 18, "13.5": 18, "13.6": 18, "13.7": 18,
	}
	got := map[string]int{}
	for _, c := range cases() {
		got[c.id[:strings.LastIndexByte(c.id, '.')]]++
	}
	for group, n := range want {
		if got[group] != n {
			t.Errorf("%d cases %s.x, want %d", got[group], group, n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d groups, want %d", len(got), len(want))
	}
}
