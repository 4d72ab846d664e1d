package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Message is what the service is told of one message, or of one edit: then MID is
// set, and Type, Text and Data are the new ones. Exactly one of Text and Data is set.
type Message struct {
	From string  `json:"from"`
	Conv string  `json:"conv"` // as the sender sees it: u:bob, g:42
	CID  string  `json:"cid"`
	MID  string  `json:"mid,omitempty"` // of the message that is edited
	Type string  `json:"type,omitempty"`
	Text *string `json:"text,omitempty"`
	Data *[]byte `json:"data,omitempty"` // base64
	Time int64   `json:"time"`           // ms since the Unix epoch, of the question
}

// Verdict is the service's answer, or with Failed what counts as one: Allow is
// then Config.FailOpen.
type Verdict struct {
	Allow   bool
	Failed  bool   // nobody was asked, or nothing usable was answered
	Message string // why it was refused, for the sender
}

// The headers of a request. The signature is the hex HMAC-SHA256, under the
// secret, of the time header, a dot and the body.
const (
	TimeHeader      = "Godwit-Time" // seconds since the Unix epoch
	SignatureHeader = "Godwit-Signature"
)

const (
	answerBytesMax  = 64 << 10
	messageBytesMax = 512 // of a verdict's message
)

// Config of a Client. URL and Timeout are required.
type Config struct {
	URL      string
	Timeout  time.Duration // for all of a call
	FailOpen bool          // messages without a verdict pass; else they are refused for now
	Secret   []byte        // signs requests; nil: they are not signed
	Calls    int           // connections at most; 32
	// Transport stands in for the network, Now for the clock.
	Transport http.RoundTripper
	Now       func() time.Time
	Logger    *slog.Logger
}

func (c *Config) validate() error {
	if c.URL == "" || c.Timeout <= 0 || c.Calls < 0 {
		return errors.New("hook: URL and Timeout are required")
	}
	if c.Calls == 0 {
		c.Calls = 32
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			MaxConnsPerHost: c.Calls, MaxIdleConnsPerHost: c.Calls, IdleConnTimeout: time.Minute,
			Proxy: http.ProxyFromEnvironment,
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// Client calls the service. Its methods may be called from any goroutine; who
// calls bounds how many do so at once.
type Client struct {
	cfg     Config
	http    http.Client
	breaker breaker
	stats   counters
}

// New returns a client. It calls nobody yet.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if _, err := http.NewRequest(http.MethodPost, cfg.URL, nil); err != nil {
		return nil, fmt.Errorf("hook: %w", err)
	}
	c := &Client{cfg: cfg}
	c.http = http.Client{
		Transport:     cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// BeforeSend asks about one message. It returns at the latest after the timeout.
func (c *Client) BeforeSend(ctx context.Context, m *Message) Verdict {
	now := c.cfg.Now()
	probe, ok := c.breaker.enter(now)
	if !ok {
		return c.Skip()
	}
	c.stats.calls.Add(1)
	verdict, err := c.call(ctx, m, now)
	took := c.cfg.Now().Sub(now)
	c.stats.nanos.Add(uint64(max(took, 0)))
	if err != nil {
		c.stats.failures.Add(1)
		if opened := c.breaker.failed(c.cfg.Now(), probe); opened > 0 {
			c.cfg.Logger.Warn("hook fails and is not asked for a while", "pause", opened.String(), "err", err)
		}
		return Verdict{Allow: c.cfg.FailOpen, Failed: true}
	}
	if c.breaker.answered(probe) {
		c.cfg.Logger.Info("hook answers again")
	}
	if !verdict.Allow {
		c.stats.refused.Add(1)
	}
	return verdict
}

// Skip is the verdict on a message that the service can't be asked about.
func (c *Client) Skip() Verdict {
	c.stats.skipped.Add(1)
	return Verdict{Allow: c.cfg.FailOpen, Failed: true}
}

func (c *Client) call(ctx context.Context, m *Message, now time.Time) (Verdict, error) {
	own := *m
	own.Time = now.UnixMilli()
	body, err := json.Marshal(&own)
	if err != nil {
		return Verdict{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return Verdict{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "godwit")
	at := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set(TimeHeader, at)
	if len(c.cfg.Secret) > 0 {
		req.Header.Set(SignatureHeader, Sign(c.cfg.Secret, at, body))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Verdict{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax+1))
	switch {
	case err != nil:
		return Verdict{}, err
	case resp.StatusCode != http.StatusOK:
		return Verdict{}, fmt.Errorf("hook: status %d", resp.StatusCode)
	case len(answer) > answerBytesMax:
		return Verdict{}, errors.New("hook: the answer is too large")
	}
	return parseAnswer(answer)
}

// parseAnswer takes {"allow":true} or {"allow":false,"message":"…"}. allow has to
// be there: an answer about something else is no verdict.
func parseAnswer(answer []byte) (Verdict, error) {
	var v struct {
		Allow   *bool  `json:"allow"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(answer, &v); err != nil {
		return Verdict{}, fmt.Errorf("hook: answer: %w", err)
	}
	if v.Allow == nil {
		return Verdict{}, errors.New("hook: the answer has no allow")
	}
	if len(v.Message) > messageBytesMax {
		v.Message = string(bytes.ToValidUTF8([]byte(v.Message[:messageBytesMax]), nil))
	}
	return Verdict{Allow: *v.Allow, Message: v.Message}, nil
}

// Sign makes the signature of a request's body at a time (TimeHeader).
func Sign(secret []byte, at string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(at))
	mac.Write([]byte{'.'})
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Stats are counters since the start.
type Stats struct {
	Calls    uint64
	Refused  uint64        // of them: messages the service refused
	Failures uint64        // of them: without a verdict
	Skipped  uint64        // messages it was not asked about: it was failing, or too many waited
	Waited   time.Duration // all calls together
	Open     bool          // it fails, and is not asked for now
}

type counters struct{ calls, refused, failures, skipped, nanos atomic.Uint64 }

// Stats may be called from any goroutine.
func (c *Client) Stats() Stats {
	return Stats{
		Calls: c.stats.calls.Load(), Refused: c.stats.refused.Load(), Failures: c.stats.failures.Load(),
		Skipped: c.stats.skipped.Load(), Waited: time.Duration(c.stats.nanos.Load()), Open: c.breaker.isOpen(),
	}
}
