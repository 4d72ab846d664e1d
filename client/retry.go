package client

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/godwit-im/godwit"
)

// remedy is what the end of a connection asks the client to do.
type remedy uint8

const (
	backOff  remedy = iota // wait, growing with each failure, then resume
	comeBack               // resume at once, with a little jitter
	newToken               // get another token first, then as backOff
	giveUp                 // stop and tell the application
)

// remedyOf reads a close code: the hundred of a code of ours is the
// instruction; of RFC 6455's own, those that say "you are broken" stop the
// client, for it would be as broken the next time.
func remedyOf(code uint16) remedy {
	switch {
	case code >= 4000 && code < 4100:
		return giveUp
	case code >= 4100 && code < 4200:
		return newToken
	case code >= 4300 && code < 4400:
		return comeBack
	}
	switch code {
	case 1002, 1003, 1007, 1009, 1010:
		return giveUp
	}
	return backOff
}

// remedyOfStatus reads the HTTP status that refused an upgrade.
func remedyOfStatus(status int) remedy {
	switch {
	case status == http.StatusUnauthorized:
		return newToken
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500:
		return backOff
	case status >= 400:
		return giveUp
	}
	return backOff
}

// closeReason is the short JSON that a close frame may carry.
type closeReason struct {
	Reason       string `json:"reason"`
	RetryAfterMS uint32 `json:"retry_after_ms"`
	SpreadMS     uint32 `json:"spread_ms"`
}

// parseCloseReason returns what it can read: a reason is advice, and any text
// may stand there.
func parseCloseReason(reason []byte) (r closeReason) {
	if json.Unmarshal(reason, &r) != nil {
		return closeReason{}
	}
	return r
}

// comeBackSpread is the jitter of "at once" when the server names none.
const comeBackSpread = 500 * time.Millisecond

// backoff counts the failures since the last stable connection.
type backoff struct {
	first, limit time.Duration
	random       func(n int64) int64
	failures     int
}

// after returns the wait before the next attempt and counts a failure. It is
// full jitter: uniform below the bound, so that a crowd spreads out.
func (b *backoff) after(r remedy, reason closeReason) time.Duration {
	wait := time.Duration(reason.RetryAfterMS) * time.Millisecond
	if r == comeBack && b.failures == 0 {
		b.failures++
		spread := comeBackSpread
		if reason.SpreadMS > 0 {
			spread = time.Duration(reason.SpreadMS) * time.Millisecond
		}
		return wait + b.below(spread)
	}
	bound := b.limit
	if shift := b.failures; shift < 30 {
		bound = min(b.limit, b.first<<shift)
	}
	b.failures++
	return wait + b.below(bound)
}

func (b *backoff) below(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(b.random(int64(d)))
}

func (b *backoff) reset() { b.failures = 0 }

// retryAfterSeconds reads the Retry-After header of a refused upgrade.
func retryAfterSeconds(h http.Header) closeReason {
	s, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return closeReason{}
	}
	return closeReason{RetryAfterMS: uint32(s) * 1000}
}

// refusal turns an error frame into the sentinel of its code, or into an error of its
// own for a code that is newer than this client and for a sentence of the operator's:
// errors.Is finds the sentinel in it.
func refusal(r *godwit.ErrorReply) *godwit.Error {
	if e := godwit.ErrorOf(r.Code); e != nil && (r.Message == "" || r.Message == e.Message) {
		return e
	}
	return &godwit.Error{Code: r.Code, Num: r.Num, Temporary: r.Temporary, Message: r.Message}
}
