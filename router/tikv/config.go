package tikv

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"
)

// Config says how TiKV is reached, and how much is asked of it.
type Config struct {
	// PD are the host:port addresses of the placement drivers; one that answers is
	// enough, it names the others.
	PD []string
	// CA, Cert and Key are files of PEM for TLS to PD and TiKV; all empty: plaintext.
	// They are read when a connection is made.
	CA, Cert, Key string
	// Timeout bounds every call, and every attempt to connect; 0 is 2 s. Longer rides
	// out more of a leader's change; shorter frees callers sooner.
	Timeout time.Duration
	// Concurrency is how many calls may be under way; further ones wait until their
	// deadline. 0 is 256. A storm larger than this queues here, not in TiKV.
	Concurrency int
	// Failures is how many calls in a row must fail for the breaker to open; 0 is 5.
	// Two are enough when none has succeeded for 1.5 Timeout.
	Failures int
	// RetryMin and RetryMax bound the pause between probes while the breaker is open;
	// it doubles from one to the other. 0 is 200 ms and 5 s.
	RetryMin, RetryMax time.Duration
	// Changed is called when the breaker closed or opened, the first time included if
	// the store answers then; never twice at once. It must not wait for the Store. nil
	// is none.
	Changed func(State)
	// Logger gets what client-go says, as Debug, and changes of the breaker; nil: none.
	Logger *slog.Logger
}

const (
	timeoutDefault     = 2 * time.Second
	concurrencyDefault = 256
	failuresDefault    = 5
	retryMinDefault    = 200 * time.Millisecond
	retryMaxDefault    = 5 * time.Second
)

func (c *Config) validate() error {
	if len(c.PD) == 0 {
		return errors.New("pd: no address")
	}
	for _, address := range c.PD {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("pd: %w", err)
		}
	}
	if (c.CA == "") != (c.Cert == "") || (c.Cert == "") != (c.Key == "") {
		return errors.New("ca, cert and key belong together")
	}
	for _, file := range []string{c.CA, c.Cert, c.Key} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	if c.Timeout < 0 || c.Concurrency < 0 || c.Failures < 0 || c.RetryMin < 0 || c.RetryMax < 0 {
		return errors.New("a bound is negative")
	}
	c.Timeout = orDefault(c.Timeout, timeoutDefault)
	c.Concurrency = orDefault(c.Concurrency, concurrencyDefault)
	c.Failures = orDefault(c.Failures, failuresDefault)
	c.RetryMin = orDefault(c.RetryMin, retryMinDefault)
	c.RetryMax = max(orDefault(c.RetryMax, retryMaxDefault), c.RetryMin)
	if c.Changed == nil {
		c.Changed = func(State) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func orDefault[T int | time.Duration](value, fallback T) T {
	if value == 0 {
		return fallback
	}
	return value
}
