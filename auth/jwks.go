package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of reading a JWKS address.
const (
	// RefreshMin, RefreshMax and RefreshDefault bound JWKSConfig.Refresh.
	RefreshMin, RefreshMax, RefreshDefault = time.Minute, 24 * time.Hour, 15 * time.Minute

	jwksBytesMax = 1 << 20          // of the answer, inflated
	fetchMax     = 10 * time.Second // from dialing to the last byte
	retryFirst   = 10 * time.Second // after a failure; doubled up to Refresh
	earlyEvery   = 10 * time.Second // between refreshes that unknown kids ask for
	unknownWait  = 2 * time.Second  // that one token of an unknown kid may wait
	redirectsMax = 3
)

// JWKSConfig names an address that publishes keys as a JWK Set (RFC 7517).
type JWKSConfig struct {
	URL string // https, or http on a loopback host; empty: none

	// Refresh is how often the keys are read at least: so long may a key that
	// was taken back be believed. A shorter max-age of the answer is heeded, a
	// longer one is not. 1 min to 24 h, default 15 min.
	Refresh time.Duration

	// Waiters is how many calls of Verify may wait at once for an unknown kid,
	// default 1; more are told ErrKeysPending at once. Keep it below the number
	// of goroutines that verify: else strangers can occupy all of them.
	Waiters int

	Transport http.RoundTripper // default: HTTP/1.1, no connection kept; replaced by tests
}

func (cfg *JWKSConfig) validate() error {
	if cfg.URL == "" {
		return nil
	}
	if err := CheckJWKSURL(cfg.URL); err != nil {
		return fmt.Errorf("auth: JWKS address %w", err)
	}
	if cfg.Refresh != 0 && (cfg.Refresh < RefreshMin || cfg.Refresh > RefreshMax) {
		return fmt.Errorf("auth: JWKS refresh is %s; it must be %s to %s", cfg.Refresh, RefreshMin, RefreshMax)
	}
	return nil
}

// CheckJWKSURL refuses an address whose keys anyone on the way could replace.
func CheckJWKSURL(text string) error {
	address, err := url.Parse(text)
	if err != nil || address.Host == "" || address.Opaque != "" {
		return errors.New("must be a URL such as https://id.example/.well-known/jwks.json")
	}
	return checkURL(address)
}

func checkURL(address *url.URL) error {
	host := address.Hostname()
	ip := net.ParseIP(host)
	switch {
	case address.User != nil:
		return errors.New("must not carry a user or password")
	case address.Scheme == "https" && host != "":
		return nil
	case address.Scheme == "http" && (host == "localhost" || ip != nil && ip.IsLoopback()):
		return nil
	}
	return errors.New("must begin with https://, or with http:// and a loopback host")
}

// remote reads one JWKS address again and again. One goroutine does all of it;
// whoever meets an unknown kid may ask it to hurry, and wait.
type remote struct {
	cfg     JWKSConfig
	client  http.Client
	replace func(keys []Key) (changed bool, notes []string)
	clock   func() time.Time // what readAt is told; all waiting is by the process's own
	logger  *slog.Logger

	readAt atomic.Int64 // of the last success, ms since the Unix epoch
	failed atomic.Uint64

	ask   chan struct{} // capacity 1: asking twice is asking once
	ended chan struct{} // closed when the goroutine has ended, or was never started
	once  sync.Once
	end   context.CancelFunc // nil: not started

	// Of the goroutine alone (of start before it runs).
	failures int    // in a row
	said     string // the notes of the last set, so that they are logged once

	mu       sync.Mutex
	fetching chan struct{} // closed when the fetch asked for or under way ends; nil: none
	earlyAt  time.Time     // when an unknown kid last asked
	waiting  int           // callers of await
}

func newRemote(cfg JWKSConfig, replace func([]Key) (bool, []string), clock func() time.Time, logger *slog.Logger) *remote {
	if cfg.Refresh == 0 {
		cfg.Refresh = RefreshDefault
	}
	if cfg.Waiters == 0 {
		cfg.Waiters = 1
	}
	if cfg.Transport == nil {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		cfg.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, Protocols: protocols, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &remote{
		cfg: cfg, replace: replace, clock: clock, logger: logger,
		client: http.Client{Transport: cfg.Transport, CheckRedirect: checkRedirect},
		ask:    make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// checkRedirect never leaves what encrypts.
func checkRedirect(next *http.Request, before []*http.Request) error {
	if len(before) > redirectsMax {
		return fmt.Errorf("more than %d redirects", redirectsMax)
	}
	if before[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("redirected from https to " + next.URL.Scheme)
	}
	if err := checkURL(next.URL); err != nil {
		return fmt.Errorf("redirected to an address that %w", err)
	}
	return nil
}

// start reads the address once and then starts the goroutine. A failure is an
// error, unless there are other keys to go on with.
func (r *remote) start(ctx context.Context, others bool) error {
	wait, err := r.refresh(ctx)
	if err != nil && (!others || ctx.Err() != nil) {
		r.stop()
		return fmt.Errorf("auth: %w", err)
	}
	run, end := context.WithCancel(context.WithoutCancel(ctx))
	r.end = end
	go func() {
		defer close(r.ended)
		r.run(run, wait)
	}()
	return nil
}

func (r *remote) stop() {
	r.once.Do(func() {
		if r.end == nil {
			close(r.ended)
			return
		}
		r.end()
	})
	<-r.ended
}

func (r *remote) run(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.ask:
		}
		wait, _ = r.refresh(ctx)
		timer.Reset(wait)
	}
}

// await asks for the keys to be read now, if that was not asked for lately, and
// waits for it or for what is being read already. If it could not wait so long,
// the error is ErrKeysPending.
func (r *remote) await(deadline <-chan time.Time) (read bool, err error) {
	r.mu.Lock()
	if r.waiting >= r.cfg.Waiters {
		r.mu.Unlock()
		return false, ErrKeysPending
	}
	if r.fetching == nil {
		now := time.Now()
		if !r.earlyAt.IsZero() && now.Sub(r.earlyAt) < earlyEvery {
			r.mu.Unlock()
			return false, nil
		}
		r.earlyAt = now
		r.fetching = make(chan struct{})
		select {
		case r.ask <- struct{}{}:
		default: // the goroutine has not taken the last one yet
		}
	}
	fetching := r.fetching
	r.waiting++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.waiting--
		r.mu.Unlock()
	}()
	select {
	case <-fetching:
		return true, nil
	case <-deadline:
		return false, ErrKeysPending
	case <-r.ended:
		return false, nil
	}
}

// refresh reads the keys once and says when to do so again. After a failure
// the keys stay as they are.
func (r *remote) refresh(ctx context.Context) (next time.Duration, err error) {
	select {
	case <-r.ask: // this is what was asked for
	default:
	}
	r.mu.Lock()
	if r.fetching == nil {
		r.fetching = make(chan struct{})
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		close(r.fetching)
		r.fetching = nil
		r.mu.Unlock()
	}()
	keys, notes, maxAge, err := r.fetch(ctx)
	if err != nil {
		r.failed.Add(1)
		err = fmt.Errorf("read keys of %s: %w", r.cfg.URL, err)
		next = min(retryFirst<<min(r.failures, 20), r.cfg.Refresh)
		if r.failures++; r.failures == 1 && ctx.Err() == nil {
			r.logger.Warn("keys can't be read; those of before stay", "error", err)
		}
		return jitter(next), err
	}
	changed, more := r.replace(keys)
	r.readAt.Store(r.clock().UnixMilli())
	r.report(keys, append(notes, more...), changed)
	next = r.cfg.Refresh
	if maxAge >= 0 {
		next = min(next, max(maxAge, RefreshMin))
	}
	return jitter(next), nil
}

// report logs what is new, and nothing when a refresh brought nothing.
func (r *remote) report(keys []Key, notes []string, changed bool) {
	ids := make([]string, len(keys))
	for i := range keys {
		ids[i] = keys[i].ID
	}
	if changed {
		r.logger.Info("keys read", "url", r.cfg.URL, "kids", ids)
	} else if r.failures > 0 {
		r.logger.Info("keys can be read again", "url", r.cfg.URL, "failures", r.failures)
	}
	r.failures = 0
	said := strings.Join(notes, "; ")
	if said != r.said && said != "" {
		r.logger.Warn("keys left out", "url", r.cfg.URL, "why", said)
	}
	r.said = said
}

// jitter spreads the servers that were started at once: up to a tenth sooner.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(d/10+1)
}

// fetch asks the address once. maxAge is negative if the answer names none.
func (r *remote) fetch(ctx context.Context) (keys []Key, notes []string, maxAge time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchMax)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.cfg.URL, nil)
	if err != nil {
		return nil, nil, 0, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	reply, err := r.client.Do(request)
	if err != nil {
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err // the caller names the address
		}
		return nil, nil, 0, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, nil, 0, fmt.Errorf("the answer is %s", reply.Status)
	}
	body, err := io.ReadAll(io.LimitReader(reply.Body, jwksBytesMax+1))
	if err != nil {
		return nil, nil, 0, err
	}
	if len(body) > jwksBytesMax {
		return nil, nil, 0, fmt.Errorf("the answer is larger than %d bytes", jwksBytesMax)
	}
	if keys, notes, err = parseJWKS(body); err != nil {
		return nil, notes, 0, fmt.Errorf("the answer is no usable key set: %w", err)
	}
	return keys, notes, parseMaxAge(reply.Header.Get("Cache-Control")), nil
}

// parseMaxAge reads how long an answer stays fresh (RFC 9111 §5.2.2.1);
// negative if it does not say. no-cache alone says nothing about the keys: many
// servers add it to every answer.
func parseMaxAge(header string) time.Duration {
	for directive := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		if name != "max-age" {
			continue
		}
		if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
			return time.Duration(seconds) * time.Second
		}
	}
	return -1
}
