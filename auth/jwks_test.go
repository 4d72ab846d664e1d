package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/godwit-im/godwit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const jwksURL = "https://id.example/jwks"

// issuer is a JWKS address without a network: tests in a synctest bubble can
// then wait for time alone.
type issuer struct {
	mu     sync.Mutex
	body   string
	header http.Header
	status int
	err    error
	slow   time.Duration
	asked  int
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.asked++
	reply := &http.Response{
		Status: fmt.Sprint(i.status, " status"), StatusCode: i.status, Header: i.header.Clone(), Request: r,
		Body: io.NopCloser(strings.NewReader(i.body)),
	}
	slow, err := i.slow, i.err
	i.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// publish replaces what the issuer answers.
func (i *issuer) publish(keys ...Key) {
	i.set(func() { i.status, i.err, i.body, i.header = 200, nil, jwksOf(keys...), http.Header{} })
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

func (i *issuer) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// remoteRing is a started keyring on the issuer, closed with the test.
func (i *issuer) remoteRing(t *testing.T, change func(*Config)) *Keyring {
	t.Helper()
	k := i.ring(t, change)
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func (i *issuer) ring(t *testing.T, change func(*Config)) *Keyring {
	t.Helper()
	cfg := Config{JWKS: JWKSConfig{URL: jwksURL, Transport: i}, Issuer: "issuer", Audience: "godwit", Cached: 64, Clock: func() time.Time { return start }}
	if change != nil {
		change(&cfg)
	}
	k, err := NewKeyring(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Tokens of the three keys a set may hold.
var (
	edToken = func(t testing.TB) []byte { return []byte(sign(t, head("EdDSA", "ed"), claims(), private)) }
	esToken = func(t testing.TB) []byte { return []byte(sign(t, head("ES256", "es"), claims(), curveKey)) }
	rsToken = func(t testing.TB) []byte { return []byte(sign(t, head("RS256", "rs"), claims(), modulusKey)) }
)

func believed(t *testing.T, k *Keyring, token []byte) {
	t.Helper()
	if who, err := k.Verify(token); err != nil || who.User != "alice" {
		t.Errorf("got %q, %v", who.User, err)
	}
}

func refused(t *testing.T, k *Keyring, token []byte) {
	t.Helper()
	if who, err := k.Verify(token); !errors.Is(err, ErrTokenKey) || !errors.Is(err, godwit.ErrUnauthorized) {
		t.Errorf("got %q, %v; want %v", who.User, err, ErrTokenKey)
	}
}

// pending expects to be told to try again, which is no refusal.
func pending(t *testing.T, k *Keyring, token []byte) {
	t.Helper()
	who, err := k.Verify(token)
	user := who.User
	var temporary *godwit.Error
	if !errors.As(err, &temporary) || !temporary.Temporary || errors.Is(err, godwit.ErrUnauthorized) {
		t.Errorf("got %q, %v; want %v", user, err, ErrKeysPending)
	}
}

func TestRotationIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i issuer
		i.publish(eddsaKey, ecdsaKey)
		k := i.remoteRing(t, nil)
		ed, es, rs := edToken(t), esToken(t), rsToken(t)
		for range 2 { // the second time from memory
			believed(t, k, ed)
			believed(t, k, es)
		}
		if i.times() != 1 {
			t.Errorf("asked %d times for known keys", i.times())
		}
		i.publish(ecdsaKey, rsaKey)
		believed(t, k, ed) // nobody has looked yet
		time.Sleep(RefreshDefault)
		synctest.Wait()
		if i.times() != 2 {
			t.Errorf("asked %d times after %s", i.times(), RefreshDefault)
		}
		for range 2 {
			believed(t, k, rs)
			believed(t, k, es)
		}
		refused(t, k, ed)
	})
}

func TestUnknownKidIsAskedForAtOnceAndNotAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i issuer
		i.publish(eddsaKey)
		k := i.remoteRing(t, nil)
		began := time.Now()
		i.publish(rsaKey)
		believed(t, k, rsToken(t))
		refused(t, k, edToken(t)) // the early refresh took it away
		if i.times() != 2 || time.Since(began) != 0 {
			t.Errorf("asked %d times, after %s", i.times(), time.Since(began))
		}
		for range 100 {
			refused(t, k, esToken(t))
		}
		if i.times() != 2 {
			t.Errorf("a flood of unknown kids asked %d times", i.times())
		}
		time.Sleep(earlyEvery - time.Nanosecond)
		refused(t, k, esToken(t))
		if i.times() != 2 {
			t.Errorf("asked %d times within %s", i.times(), earlyEvery)
		}
		time.Sleep(time.Nanosecond)
		i.publish(rsaKey, ecdsaKey)
		believed(t, k, esToken(t))
		if i.times() != 3 {
			t.Errorf("asked %d times", i.times())
		}
		for _, kid := range []any{7, "", nil, strings.Repeat("k", keyIDBytesMax+1)} {
			time.Sleep(earlyEvery)
			refused(t, k, []byte(sign(t, head("EdDSA", kid), claims(), private)))
		}
		if i.times() != 3 {
			t.Errorf("kids that no key can have asked %d times", i.times()-3)
		}
	})
}

func TestVerifyWaitsForSlowKeysButNotLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i issuer
		i.publish(eddsaKey)
		k := i.remoteRing(t, func(c *Config) { c.JWKS.Waiters = 2 })
		known, unknown := edToken(t), esToken(t)
		i.publish(eddsaKey, ecdsaKey)
		i.set(func() { i.slow = 5 * time.Second })
		began := time.Now()
		var waits sync.WaitGroup
		for range 2 {
			waits.Go(func() {
				pending(t, k, unknown)
				if waited := time.Since(began); waited != unknownWait {
					t.Errorf("waited %s", waited)
				}
			})
		}
		synctest.Wait()
		pending(t, k, unknown) // two wait already
		believed(t, k, known)
		if time.Since(began) != 0 {
			t.Errorf("others waited %s", time.Since(began))
		}
		waits.Wait()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		believed(t, k, unknown)
		if i.times() != 2 {
			t.Errorf("asked %d times", i.times())
		}
	})
}

// TestRotationDuringARefreshIsNotMissed: what is being read when the unknown
// kid comes may be older than the rotation.
func TestRotationDuringARefreshIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i issuer
		i.publish(eddsaKey)
		k := i.remoteRing(t, nil)
		i.set(func() { i.slow = time.Second })
		for i.times() == 1 { // until the regular one is under way
			time.Sleep(time.Second / 2)
			synctest.Wait()
		}
		i.publish(ecdsaKey)
		i.set(func() { i.slow = 0 })
		believed(t, k, esToken(t))
		if i.times() != 3 {
			t.Errorf("asked %d times", i.times())
		}
	})
}

func TestFailuresKeepTheLastGoodKeys(t *testing.T) {
	failures := map[string]func(*issuer){
		"unreachable":  func(i *issuer) { i.err = errors.New("no route") },
		"500":          func(i *issuer) { i.status = 500 },
		"204":          func(i *issuer) { i.status, i.body = 204, "" },
		"garbage":      func(i *issuer) { i.body = "<html>back soon</html>" },
		"cut off":      func(i *issuer) { i.body = i.body[:len(i.body)/2] },
		"empty":        func(i *issuer) { i.body = "" },
		"no keys":      func(i *issuer) { i.body = `{"keys":[]}` },
		"none for us":  func(i *issuer) { i.body = setOf(`{"kty":"oct"}`) },
		"huge":         func(i *issuer) { i.body = jwksOf(rsaKey) + strings.Repeat(" ", jwksBytesMax) },
		"never ending": func(i *issuer) { i.slow = time.Hour },
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var i issuer
				var log bytes.Buffer
				i.publish(eddsaKey, ecdsaKey)
				k := i.remoteRing(t, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				i.set(func() { fail(&i) })
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				believed(t, k, edToken(t))
				believed(t, k, esToken(t))
				if i.slow > 0 {
					pending(t, k, rsToken(t))
				} else {
					refused(t, k, rsToken(t))
				}
				if n := i.times(); n < 90 || n > 140 {
					t.Errorf("asked %d times in a day", n)
				}
				i.publish(rsaKey)
				i.set(func() { i.slow = 0 })
				time.Sleep(RefreshDefault + fetchMax)
				synctest.Wait()
				believed(t, k, rsToken(t))
				refused(t, k, edToken(t))
				k.Close() // and with it whoever writes the log
				if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, `msg="keys read"`) != 2 || !strings.Contains(text, jwksURL) {
					t.Errorf("a change of state is logged once; the log is\n%s", text)
				}
			})
		})
	}
}

func TestRefreshComesInTime(t *testing.T) {
	f := func(name string, refresh time.Duration, header string, want time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var i issuer
			i.publish(eddsaKey)
			i.header = http.Header{"Cache-Control": {header}}
			k := i.remoteRing(t, func(c *Config) { c.JWKS.Refresh = refresh })
			defer k.Close()
			time.Sleep(want - want/10 - 1)
			synctest.Wait()
			if i.times() != 1 {
				t.Errorf("%s: asked again before %s", name, want-want/10)
			}
			time.Sleep(want/10 + 1)
			synctest.Wait()
			if i.times() != 2 {
				t.Errorf("%s: not asked after %s", name, want)
			}
		})
	}
	f("default", 0, "", RefreshDefault)
	f("configured", time.Hour, "", time.Hour)
	f("shortest", RefreshMin, "", RefreshMin)
	f("shorter by the answer", time.Hour, "public, max-age=600, must-revalidate", 10*time.Minute)
	f("quoted", time.Hour, `Max-Age="600"`, 10*time.Minute)
	f("too short by the answer", time.Hour, "max-age=0", RefreshMin)
	f("longer by the answer", time.Hour, "max-age=86400", time.Hour)
	f("beyond numbers", time.Hour, "max-age=99999999999999999999", time.Hour)
	f("no number", time.Hour, "max-age=-1", time.Hour)
	f("not to be kept", time.Hour, "no-store, no-cache", time.Hour)
}

func TestStartNeedsSomeKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuer{err: errors.New("no route")}
		k := i.ring(t, nil)
		if err := k.Start(t.Context()); err == nil || !strings.Contains(err.Error(), jwksURL+": no route") {
			t.Errorf("started without any key: %v", err)
		}
		k.Close()
		k.Close()
		refused(t, k, edToken(t))

		k = i.ring(t, func(c *Config) { c.Keys = []Key{eddsaKey} })
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		believed(t, k, edToken(t))
		i.publish(ecdsaKey)
		believed(t, k, esToken(t))
		k.Close()
		k.Close()
		believed(t, k, edToken(t))
		believed(t, k, esToken(t))
		refused(t, k, rsToken(t))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		i.set(func() { i.err = ctx.Err() })
		k = i.ring(t, func(c *Config) { c.Keys = []Key{eddsaKey} })
		if err := k.Start(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a start that was broken off: %v", err)
		}
	})
}

func TestCloseEndsARefreshUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i issuer
		i.publish(eddsaKey)
		k := i.remoteRing(t, nil)
		i.set(func() { i.slow = time.Hour })
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			refused(t, k, esToken(t))
		}()
		synctest.Wait()
		k.Close()
		<-done
		if time.Since(began) != 0 {
			t.Errorf("took %s", time.Since(began))
		}
		time.Sleep(earlyEvery) // so that an unknown kid would be asked for again
		began = time.Now()
		refused(t, k, esToken(t))
		if time.Since(began) != 0 {
			t.Errorf("waited %s for nobody", time.Since(began))
		}
	})
}

func TestKeysOfTheFileWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i issuer
		i.publish(Key{ID: "ed", Public: ecdsaKey.Public}, rsaKey)
		k := i.remoteRing(t, func(c *Config) { c.Keys = []Key{eddsaKey} })
		believed(t, k, edToken(t))
		believed(t, k, rsToken(t))
		refused(t, k, []byte(sign(t, head("ES256", "ed"), claims(), curveKey)))
		refused(t, k, []byte(sign(t, head("EdDSA", nil), claims(), private)))
		i.publish(ecdsaKey)
		time.Sleep(RefreshDefault)
		synctest.Wait()
		believed(t, k, edToken(t))
		refused(t, k, rsToken(t))
	})
}

func TestPublishedPrivateKeyIsNoLongerBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var i issuer
		i.publish(ecdsaKey)
		k := i.remoteRing(t, nil)
		believed(t, k, esToken(t))
		i.set(func() { i.body = setOf(with(jwkOf(ecdsaKey), `"d":"AQ"`)) })
		time.Sleep(RefreshDefault)
		synctest.Wait()
		refused(t, k, esToken(t))
	})
}

func TestJWKSAddressIsChecked(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		err := CheckJWKSURL(address)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	f("https://id.example/jwks?tenant=a", "")
	f("http://127.0.0.1:8000/jwks", "")
	f("http://[::1]/jwks", "")
	f("http://localhost:8000", "")
	f("http://id.example/jwks", "https://")
	f("http://10.0.0.1/jwks", "https://")
	f("http://localhost.example/jwks", "https://")
	f("http://127.0.0.1@id.example/jwks", "user")
	f("https://alice:secret@id.example/jwks", "user")
	f("file:///etc/keys", "URL such as")
	f("ftp://id.example/jwks", "https://")
	f("id.example/jwks", "URL such as")
	f("https:id.example", "URL such as")
	f("https://:443/jwks", "https://")
	f("", "URL such as")
	f("%", "URL such as")
}
