package client

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/godwit-im/godwit"
)

// hijack takes a connection away from the model's HTTP server.
func hijack(w http.ResponseWriter, say string, hold bool) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(say))
	for buf := make([]byte, 512); hold; {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: godwit.v1.proto\r\n"

// proxies are things between that let plain HTTP through and no WebSocket.
var proxies = map[string]func(m *model, w http.ResponseWriter, r *httpRequest) bool{
	"hangs": func(_ *model, w http.ResponseWriter, _ *httpRequest) bool { hijack(w, "", true); return true },
	"400": func(_ *model, w http.ResponseWriter, _ *httpRequest) bool {
		w.WriteHeader(http.StatusBadRequest)
		return true
	},
	"403": func(_ *model, w http.ResponseWriter, _ *httpRequest) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	},
	"502": func(_ *model, w http.ResponseWriter, _ *httpRequest) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	},
	"resets": func(_ *model, w http.ResponseWriter, _ *httpRequest) bool { hijack(w, "", false); return true },
	"strips the upgrade": func(_ *model, w http.ResponseWriter, _ *httpRequest) bool {
		_, _ = w.Write([]byte("hello"))
		return true
	},
	"closes after 101": func(m *model, w http.ResponseWriter, r *httpRequest) bool { return m.swallow(w, r, false) },
	"hangs after 101":  func(m *model, w http.ResponseWriter, r *httpRequest) bool { return m.swallow(w, r, true) },
}

// swallow accepts the upgrade as a server would and lets nothing through after it.
func (m *model) swallow(w http.ResponseWriter, r *httpRequest, hold bool) bool {
	hijack(w, switching+"Sec-WebSocket-Accept: "+acceptKey(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n", hold)
	return true
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// between puts something between every client and the model; nil: nothing.
func (m *model) between(f func(m *model, w http.ResponseWriter, r *httpRequest) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = nil
	if f != nil {
		m.before = func(w http.ResponseWriter, r *httpRequest) bool { return r.name == "ws" && f(m, w, r) }
	}
}

func (m *model) wasReplaced() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.replaced
}

// settles waits, at most d, until the client runs on a transport.
func settles(t *testing.T, c *Client, want Transport, d time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	for time.Since(began) <= d {
		synctest.Wait()
		if s := c.State(); s.Transport == want && s.Phase == Live {
			return time.Since(began)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("not on %s after %v: %+v", want, d, c.State())
	return 0
}

func TestAutoPollsWhereNoWebSocketGetsThroughAndChangesOverLater(t *testing.T) {
	for name, proxy := range proxies {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(t, 10)
				m.between(proxy)
				began := time.Now()
				c := m.open(m.config(""))
				if took := time.Since(began); took > 2500*time.Millisecond {
					t.Fatalf("connected after %v", took)
				}
				if s := c.State(); s.Transport != LongPoll {
					t.Fatalf("state %+v", s)
				}
				stop := make(chan struct{})
				var others sync.WaitGroup
				others.Go(func() { // entries come all the time
					for {
						select {
						case <-stop:
							return
						case <-time.After(317 * time.Millisecond):
							m.publish(1)
						}
					}
				})
				taken := make(chan godwit.Seq, 1)
				ctx, cancel := context.WithCancel(t.Context())
				go receiveAll(ctx, t, c, 11, taken)
				send(t, c, "a", 10)
				time.Sleep(5 * time.Minute) // WebSockets are tried in vain
				if tries := len(m.seen("ws")); tries < 4 || tries > 11 {
					t.Errorf("%d upgrades tried in 5 min", tries)
				}
				settles(t, c, LongPoll, 0)
				m.between(nil)
				settles(t, c, WebSocket, 101*time.Second)
				send(t, c, "b", 10)
				polls := len(m.seen("poll"))
				time.Sleep(3 * time.Minute)
				if more := len(m.seen("poll")) - polls; more > 0 {
					t.Errorf("%d polls beside a WebSocket that works", more)
				}
				close(stop)
				others.Wait()
				synctest.Wait()
				cancel()
				m.mu.Lock()
				defer m.mu.Unlock()
				if last := <-taken; last != m.headLocked() {
					t.Errorf("received up to %d of %d", last, m.headLocked())
				}
				if m.replaced != 0 || m.most != 1 || len(m.order) != 20 || !slices.IsSorted(m.order) {
					t.Errorf("%d WebSockets replaced, %d polls at once, stored %v", m.replaced, m.most, m.order)
				}
			})
		})
	}
}

// receiveAll takes each entry once and in order until ctx ends, and then tells the last.
func receiveAll(ctx context.Context, t *testing.T, c *Client, from godwit.Seq, last chan<- godwit.Seq) {
	next := from
	for item, err := range c.Events(ctx) {
		if err != nil {
			break
		}
		if item.Gap != nil || item.Entry.Seq != next {
			t.Errorf("got %d (gap %v), want %d", item.Entry.Seq, item.Gap, next)
		}
		next = item.Entry.Seq + 1
	}
	last <- next - 1
}

func TestAutoNeverPollsWhileWebSocketWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 10)
		c := m.open(m.config(Auto))
		send(t, c, "a", 5)
		for range 5 {
			m.network.breakAll()
			m.publish(3)
			time.Sleep(time.Minute)
		}
		take(t, c, 11, 30)
		if s := c.State(); s.Transport != WebSocket || len(m.seen("poll")) != 0 || m.wasReplaced() != 0 {
			t.Fatalf("%d polls, state %+v", len(m.seen("poll")), s)
		}
	})
}

func TestAutoRemembersThatPollsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 10)
		m.between(proxies["hangs"])
		c := m.open(m.config(Auto))
		for i := range 5 {
			time.Sleep(6 * time.Second)
			fails := true
			m.mu.Lock()
			m.before = func(w http.ResponseWriter, r *httpRequest) bool {
				if r.name == "poll" && fails {
					fails = false
					w.WriteHeader(http.StatusBadGateway)
					return true
				}
				return r.name == "ws" && proxies["hangs"](m, w, r)
			}
			m.mu.Unlock()
			m.publish(1)
			take(t, c, godwit.Seq(11+2*i), godwit.Seq(11+2*i)) // by the poll that was held; the next one fails
			synctest.Wait()
			began := time.Now()
			m.publish(1)
			take(t, c, godwit.Seq(12+2*i), godwit.Seq(12+2*i))
			if took := time.Since(began); fails || took > 500*time.Millisecond {
				t.Fatalf("resumed after %v", took)
			}
		}
	})
}

// The reply to a WebSocket's connect comes after polling began beside it.
func TestSlowWebSocketIsNotReplacedByItsOwnPolls(t *testing.T) {
	for _, delay := range []time.Duration{2 * time.Second, 2600 * time.Millisecond, 6 * time.Second} {
		for _, slowPolls := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(t, 10)
				m.upgraded = func(f *godwit.ClientFrame) bool {
					if f.Kind == godwit.KindConnect {
						time.Sleep(delay)
					}
					return false
				}
				m.before = func(_ http.ResponseWriter, r *httpRequest) bool {
					if slowPolls && r.name == "poll" {
						time.Sleep(delay)
					}
					return false
				}
				c := m.open(m.config(Auto))
				last := make(chan godwit.Seq, 1)
				ctx, cancel := context.WithCancel(t.Context())
				go receiveAll(ctx, t, c, 11, last)
				for range 1000 {
					m.publish(1)
					time.Sleep(300 * time.Millisecond)
				}
				send(t, c, "a", 5)
				if s := c.State(); s.Phase != Live {
					t.Errorf("state %+v", s)
				}
				time.Sleep(time.Minute)
				cancel()
				if got := <-last; got != 1015 || m.wasReplaced() > 1 {
					t.Errorf("%v: received up to %d of 1015; %d WebSockets replaced", delay, got, m.wasReplaced())
				}
			})
		}
	}
}

// A poll was on its way when the WebSocket connected, and arrives after it.
func TestReplacedByItsOwnPollComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 10)
		m.between(proxies["hangs"])
		c := m.open(m.config(Auto))
		m.mu.Lock()
		m.before = nil
		arrives := true
		m.upgraded = func(f *godwit.ClientFrame) bool {
			if f.Kind == godwit.KindConnect && arrives {
				arrives = false
				time.AfterFunc(time.Second, func() {
					m.mu.Lock()
					defer m.mu.Unlock()
					m.replaceLocked("d", &modelSession{ended: make(chan struct{})})
				})
			}
			return false
		}
		m.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if m.wasReplaced() != 1 {
			t.Fatalf("replaced %d times: the test is broken", m.wasReplaced())
		}
		settles(t, c, WebSocket, 2*time.Second)
		m.publish(1)
		take(t, c, 11, 11)
	})
}

func TestReplacedByAnotherStopsAuto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 10)
		m.between(proxies["502"])
		c := m.open(m.config(Auto))
		m.between(nil)
		settles(t, c, WebSocket, 101*time.Second)
		time.Sleep(time.Minute)
		m.open(m.config(WebSocket))
		synctest.Wait()
		if s := c.State(); s.Phase != Stopped {
			t.Fatalf("state %+v", s)
		}
	})
}

// A server of an earlier version has no long-polling.
func TestAutoWaitsForASlowWebSocketWhereNothingPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 10)
		m.before = func(w http.ResponseWriter, r *httpRequest) bool {
			if r.name == "poll" {
				http.NotFound(w, r.Request)
				return true
			}
			return false
		}
		m.upgraded = func(f *godwit.ClientFrame) bool {
			if f.Kind == godwit.KindConnect {
				time.Sleep(5 * time.Second)
			}
			return false
		}
		began := time.Now()
		c := m.open(m.config(Auto))
		if took := time.Since(began); took != 5*time.Second || c.State().Transport != WebSocket {
			t.Fatalf("after %v: %+v", took, c.State())
		}
	})
}

func TestAutoStopsWhereBothAreRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 10)
		m.before = func(w http.ResponseWriter, r *httpRequest) bool { http.NotFound(w, r.Request); return true }
		c, err := New(m.config(Auto))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Minute)
		if s := c.State(); s.Phase != Stopped {
			t.Fatalf("state %+v", s)
		}
	})
}

func TestAutoGoesOnWhereOnlyOneIsRefusedForGood(t *testing.T) {
	for _, refused := range []string{"ws", "poll"} {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, 10)
			var broken atomic.Bool
			broken.Store(true)
			m.before = func(w http.ResponseWriter, r *httpRequest) bool {
				if !broken.Load() {
					return false
				}
				if r.name == refused {
					w.WriteHeader(http.StatusForbidden)
				} else {
					hijack(w, "", false)
				}
				return true
			}
			c, err := New(m.config(Auto))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			time.Sleep(time.Minute)
			broken.Store(false)
			settles(t, c, WebSocket, time.Minute)
		})
	}
}

func TestAutoGoesOnWhileTheServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, 10)
		var away atomic.Bool
		away.Store(true)
		cfg := m.config(Auto)
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if away.Load() {
				return nil, errCutWire
			}
			return m.network.dial(ctx, network, address)
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(10 * time.Minute)
		if s := c.State(); s.Phase != Waiting && s.Phase != Connecting {
			t.Fatalf("state %+v", s)
		}
		away.Store(false)
		settles(t, c, WebSocket, 21*time.Second)
	})
}
