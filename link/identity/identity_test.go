package identity

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
	"time"
)

func uris(t testing.TB, texts ...string) *x509.Certificate {
	t.Helper()
	leaf := new(x509.Certificate)
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		leaf.URIs = append(leaf.URIs, u)
	}
	return leaf
}

func TestACertificateIsOfItsOwnProcessAlone(t *testing.T) {
	want := Identity{"prod", Edge, "edge-1"}
	f := func(complaint string, want Identity, uri ...string) {
		t.Helper()
		err := Verify(uris(t, uri...), want)
		if (err == nil) != (complaint == "") || err != nil && !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q: %v, want %q", uri, err, complaint)
		}
	}
	f("", want, "godwit://prod/edge/edge-1")
	f("", want, "spiffe://prod/x", "godwit://prod/engine/edge-1", "godwit://prod/edge/edge-1")
	f("", Identity{"prod", Edge, ""}, "godwit://prod/edge/edge-1")
	f("", Identity{"prod", Edge, "a|b@c"}, Identity{"prod", Edge, "a|b@c"}.String())
	f(`of cluster "test", and this is cluster "prod"`, want, "godwit://test/edge/edge-1")
	f("of an engine process, where an edge process belongs", want, "godwit://prod/engine/edge-1")
	f(`of "edge-2", and the process says that it is "edge-1"`, want, "godwit://prod/edge/edge-2")
	for _, none := range []string{
		"https://prod/edge/edge-1", "godwit:///edge/edge-1", "godwit://prod/edge/", "godwit://prod/edge/edge-1/more", "godwit://prod/edge/a%20b",
		"godwit://prod/admin/edge-1", "godwit://prod/edge/edge-1?x=1", "godwit://prod/edge/edge-1#x", "godwit://me@prod/edge/edge-1", "godwit://prod:7/edge/edge-1", "godwit://PROD/edge/edge-1",
	} {
		f("no name of the form", want, none)
	}
	f("no name of the form", want)
}

func TestClusterNamesAreLabels(t *testing.T) {
	f := func(cluster string, good bool) {
		t.Helper()
		if err := CheckCluster(cluster); (err == nil) != good {
			t.Errorf("%q: %v", cluster, err)
		}
	}
	f("a", true)
	f("prod-2", true)
	f(strings.Repeat("x", 63), true)
	f(strings.Repeat("x", 64), false)
	for _, bad := range []string{"", "-a", "a-", "A", "a.b", "a/b", "a_b", "ä"} {
		f(bad, false)
	}
}

func parsePair(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode(p.Cert)
	if block == nil || len(rest) != 0 {
		t.Fatalf("no PEM: %q", p.Cert)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestAnAuthorityMakesCertificatesThatLeadToIt(t *testing.T) {
	now := time.Now()
	a, err := NewAuthority("prod", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Issue(Identity{"prod", Edge, "edge-1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, roots := parsePair(t, pair), x509.NewCertPool()
	roots.AddCert(parsePair(t, a.Pair))
	for _, usage := range leaf.ExtKeyUsage {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Error(err)
		}
	}
	if err := Verify(leaf, Identity{"prod", Edge, "edge-1"}); err != nil || leaf.IsCA {
		t.Errorf("%v, CA %v", err, leaf.IsCA)
	}
	if life := leaf.NotAfter.Sub(now).Round(time.Hour); life != CertificateLife {
		t.Errorf("lives for %s", life)
	}
	if life := a.root.NotAfter.Sub(now).Round(time.Hour); life != AuthorityLife {
		t.Errorf("the authority lives for %s", life)
	}
	again, err := LoadAuthority(a.Pair, now)
	if err != nil {
		t.Fatal(err)
	}
	if pair, err = again.Issue(Identity{"prod", Engine, "e"}, now); err != nil {
		t.Fatal(err)
	}
	if _, err := parsePair(t, pair).Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
		t.Errorf("an authority loaded again: %v", err)
	}
	if _, err := LoadAuthority(pair, now); err == nil {
		t.Error("a process's certificate is taken for an authority's")
	}
	if _, err := LoadAuthority(a.Pair, now.Add(AuthorityLife+time.Hour)); err == nil {
		t.Error("an authority that has ended")
	}
	for _, bad := range []Identity{{"prod", "admin", "a"}, {"prod", Edge, ""}, {"prod", Edge, "a/b"}, {"a.b", Edge, "a"}} {
		if _, err := a.Issue(bad, now); err == nil {
			t.Errorf("%+v is issued", bad)
		}
	}
}

// FuzzIdentity: a URI that is taken for a process's is written the same again.
func FuzzIdentity(f *testing.F) {
	f.Add("godwit://prod/edge/edge-1")
	f.Add("godwit://prod/engine/a%7Cb@c")
	f.Add("godwit://prod/edge/a%2Fb")
	f.Add("godwit:prod/edge/a")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		i, ok := parse(u)
		if !ok {
			return
		}
		again, err := url.Parse(i.String())
		if err != nil {
			t.Fatal(err)
		}
		if same, ok := parse(again); !ok || same != i {
			t.Errorf("%q is %+v and then %+v", text, i, same)
		}
	})
}
