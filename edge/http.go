package edge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/edge/http1"
)

// Requests that are neither a WebSocket nor a poll nor a call are served by
// fasthttp handlers on goroutines of their own. The connection stays with its
// loop: the loop reads strictly, waits for the whole body within its limits and
// deadlines, and writes the answer; a handler sees complete requests only.

// TicketPath is where a token is changed for a ticket that may stand in an address.
const TicketPath = "/v1/ticket"

// Bounds of the HTTP handlers. Over webQueueMax a request is refused with 503.
const (
	webWorkers   = 4
	webQueueMax  = 512
	webBodyMax   = 64 << 10
	webAnswerMax = 8 << 20 // of the handler; more is a bug
)

// webJob is one request; head and body are its own copy.
type webJob struct {
	session godwit.SessionID
	raw     []byte
	who     godwit.Identity // of the token, where the path demands one
	keep    bool
	secure  bool // over TLS
}

// webServer runs the handlers.
type webServer struct {
	edge *Edge
	jobs chan webJob
	done sync.WaitGroup
}

func (w *webServer) start(workers int) {
	for range workers {
		w.done.Go(func() {
			for job := range w.jobs {
				w.serve(job)
			}
		})
	}
}

func (w *webServer) stop() {
	close(w.jobs)
	w.done.Wait()
}

// web hands a request that has arrived whole to the handlers.
func (l *loop) web(s *session, window []byte, headBytes int) {
	r := &l.request
	path := string(r.Path)
	guarded := path == TicketPath || path == EdgesPath
	if guarded && string(r.Method) == "OPTIONS" {
		l.preflight(s, headBytes)
		return
	}
	body, ok := l.awaitBody(s, window, headBytes, webBodyMax)
	if !ok {
		return
	}
	if guarded {
		if !l.beginExchange(s) {
			return
		}
		if !s.bearer {
			l.verifyBearer(s)
			return
		}
	}
	size := headBytes + len(body)
	job := webJob{session: l.id(s), raw: bytes.Clone(window[:size]), who: s.identity()}
	_, job.secure = s.conn.(*tunnel)
	s.exchange = l.newExchange()
	job.keep = s.exchange.keep && s.gen < genMax
	l.discard(s, size)
	s.state = stateWeb
	s.deadline = l.now + l.edge.ticks.answer
	l.arm(s)
	select {
	case l.edge.web.jobs <- job:
	default:
		s.exchange.keep = false
		l.respondError(s, godwit.ErrUnavailable, 1000)
	}
}

// webAnswered writes what a handler answered.
func (l *loop) webAnswered(s *session, status int, answer []byte, keep bool) {
	if s.state != stateWeb {
		return
	}
	if status >= 400 {
		l.stats.countRefused(status)
	}
	l.out.emit(s, answer)
	if keep && !l.edge.draining.Load() {
		l.nextRequest(s)
	} else {
		l.hangUp(s)
	}
}

// serve answers one request, which fasthttp reads once more.
func (w *webServer) serve(job webJob) {
	var ctx fasthttp.RequestCtx
	ctx.Init(&fasthttp.Request{}, nil, webLogger{w.edge})
	if err := ctx.Request.ReadLimitBody(bufio.NewReaderSize(bytes.NewReader(job.raw), http1.HeadMaxBytes+1), webBodyMax); err != nil {
		// It passed the stricter reading of the loop, so this is a difference
		// between two parsers: the request ends here.
		w.fail(&ctx, 400, "The request can't be read.")
		job.keep = false
	} else {
		w.route(&ctx, &job)
	}
	answer := writeAnswer(&ctx, job.keep)
	if len(answer) > webAnswerMax {
		panic("BUG: an HTTP answer over its bound")
	}
	extra := uint32(ctx.Response.StatusCode()) << 1
	if job.keep {
		extra |= 1
	}
	if box := w.edge.boxOf(job.session); box != nil {
		box.put(item{kind: itemWeb, session: job.session, extra: extra}, answer)
	}
}

// writeAnswer writes what the handler set, framed as every answer of the edge.
func writeAnswer(ctx *fasthttp.RequestCtx, keep bool) []byte {
	var fields []http1.Field
	for name, value := range ctx.Response.Header.All() {
		switch string(name) {
		case "Content-Length", "Connection", "Date", "Server":
		default:
			fields = append(fields, http1.Field{Name: string(name), Value: string(value)})
		}
	}
	if !keep {
		fields = append(fields, http1.Field{Name: "Connection", Value: "close"})
	}
	body := ctx.Response.Body()
	answer := http1.AppendResponse(nil, ctx.Response.StatusCode(), fields, body)
	if string(ctx.Method()) == "HEAD" {
		answer = answer[:len(answer)-len(body)]
	}
	return answer
}

// route finds the handler: our paths first, then the page.
func (w *webServer) route(ctx *fasthttp.RequestCtx, job *webJob) {
	switch string(ctx.Path()) {
	case TicketPath:
		w.ticket(ctx, job)
		return
	case EdgesPath:
		w.edges(ctx, job)
		return
	}
	head := string(ctx.Method()) == "HEAD"
	if !head && string(ctx.Method()) != "GET" {
		ctx.Response.Header.Set("Allow", "GET")
		w.fail(ctx, 405, "Only GET and HEAD are served here.")
		return
	}
	cfg := &w.edge.cfg
	if cfg.Static != nil {
		if contentType, body, found := cfg.Static(string(ctx.Path())); found {
			ctx.Response.Header.SetContentType(contentType)
			ctx.Response.Header.Set("X-Content-Type-Options", "nosniff")
			ctx.Response.Header.Set("Cache-Control", "no-cache")
			if cfg.PagePolicy != "" {
				ctx.Response.Header.Set("Content-Security-Policy", cfg.PagePolicy)
			}
			ctx.SetBody(body)
			return
		}
	}
	w.fail(ctx, 404, "Nothing is served at this path; the WebSocket is at "+SocketPath+".")
}

// ticket changes the token of the request for a ticket.
func (w *webServer) ticket(ctx *fasthttp.RequestCtx, job *webJob) {
	tickets := w.edge.cfg.Tickets
	switch {
	case string(ctx.Method()) != "POST":
		ctx.Response.Header.Set("Allow", "POST")
		w.fail(ctx, 405, "Get a ticket with POST.")
		return
	case tickets == nil:
		w.fail(ctx, 404, "This server gives no tickets.")
		return
	}
	ticket, seconds, err := tickets.Issue(job.who)
	if err != nil {
		w.edge.cfg.Logger.Debug("ticket not issued", "error", err)
		w.fail(ctx, 503, "No ticket can be given now; try again.")
		return
	}
	body, err := json.Marshal(struct {
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}{ticket, seconds})
	if err != nil {
		panic("BUG: a ticket that is not JSON: " + err.Error())
	}
	w.answerOwner(ctx, body)
}

func (w *webServer) fail(ctx *fasthttp.RequestCtx, status int, message string) {
	wait := retryAfterMS()
	if status == 503 {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa((wait+999)/1000))
	}
	ctx.Response.SetStatusCode(status)
	ctx.Response.Header.SetContentType(jsonType)
	ctx.SetBody(httpError(status, message, wait))
}

// httpError is the error body of the protocol for a status without a code of its own.
func httpError(status int, message string, retryAfterMS int) []byte {
	reply := godwit.ErrorReply{
		Code: "http." + strconv.Itoa(status), Num: uint32(status) * 10,
		Temporary: status == 503 || status == 429 || status == 408, Message: message,
	}
	if reply.Temporary {
		reply.RetryAfterMS = uint32(retryAfterMS)
	}
	return (&godwit.ServerFrame{Kind: godwit.KindError, Error: reply}).AppendTo(nil, godwit.EncodingJSON)
}

// webLogger keeps fasthttp from writing to standard error.
type webLogger struct{ edge *Edge }

// Printf logs what fasthttp has to say.
func (w webLogger) Printf(format string, args ...any) {
	gnetLogger{w.edge.cfg.Logger}.Warnf(format, args...)
}
