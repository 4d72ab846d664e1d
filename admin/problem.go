package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/godwit-im/godwit"
)

// problem is the body of every error (RFC 9457). Code is the stable word for it,
// of the client protocol where there is one.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Code      string `json:"code"`
	Temporary bool   `json:"temporary,omitempty"`
}

func (p *problem) Error() string { return p.Detail }

// Problems of the API itself.
func refuse(status int, code, detail string) *problem {
	return &problem{Status: status, Code: code, Detail: detail}
}

func invalid(detail string) *problem { return refuse(http.StatusBadRequest, "request.invalid", detail) }

// problemOf says an error as HTTP does.
func problemOf(err error) *problem {
	var p *problem
	var e *godwit.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &e):
		return &problem{Status: int(e.Num / 10), Code: e.Code, Detail: e.Message, Temporary: e.Temporary}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &problem{Status: http.StatusGatewayTimeout, Code: godwit.ErrUnknown.Code, Detail: "It is not known whether it was done; ask again with the same Idempotency-Key or cid.", Temporary: true}
	}
	return refuse(http.StatusInternalServerError, godwit.ErrInternal.Code, "The server failed to answer; its log says why.")
}

// answer is a response before it is written.
type answer struct {
	status int
	kind   string // media type
	body   []byte
}

func (p *problem) answer() answer {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	if p.Title == "" {
		p.Status, p.Title = http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("BUG: a problem is not JSON: " + err.Error())
	}
	return answer{p.Status, "application/problem+json", append(b, '\n')}
}

func (a *answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.Header().Set("Cache-Control", "no-store")
	if a.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}
