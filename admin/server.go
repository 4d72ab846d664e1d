package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Prefix begins the path of every route.
const Prefix = "/v1/admin/"

// Bounds of requests.
const (
	bodyBytesMax   = 1 << 20
	requestTimeout = 8 * time.Second // below the ops endpoint's own
	runningMax     = 64              // requests at once; more are told to come back
)

//go:embed openapi.yaml
var document []byte

// Config of a Server.
type Config struct {
	Chat   Chat
	Keys   []Key
	Stats  func() any       // of the process, for GET stats; nil: none
	Eraser Eraser           // nil: nothing can be erased
	Clock  func() time.Time // time.Now
	Logger *slog.Logger     // slog.Default(); every change is a line
}

// Server answers operators. It is an http.Handler for all paths below Prefix and
// may be used by any number of goroutines.
type Server struct {
	cfg     Config
	mux     *http.ServeMux
	answers *answers
	running chan struct{}
}

// New checks the keys and returns a server.
func New(cfg Config) (*Server, error) {
	if cfg.Chat == nil {
		return nil, errors.New("admin: Chat is required")
	}
	for i := range cfg.Keys {
		if err := cfg.Keys[i].validate(); err != nil {
			return nil, err
		}
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux(), answers: newAnswers(cfg.Clock), running: make(chan struct{}, runningMax)}
	for _, r := range s.routes() {
		s.mux.Handle(r.method+" "+Prefix+r.path, s.handler(r))
	}
	s.mux.HandleFunc("GET "+Prefix+"openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		(&answer{http.StatusOK, "application/yaml", document}).write(w)
	})
	return s, nil
}

// ServeHTTP answers a request below Prefix.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(s.cfg.Keys) == 0 {
		off := refuse(http.StatusNotFound, "admin.off", "The administration API is off: give admin.keys_file a file of keys, made with godwit admin key new.").answer()
		off.write(w)
		return
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		// The mux knows whether another method would do; its answer's body is plain.
		status := &statusOnly{header: http.Header{}}
		s.mux.ServeHTTP(status, r)
		detail := "There is no such resource; GET " + Prefix + "openapi.yaml lists them."
		if status.code == http.StatusMethodNotAllowed {
			detail = "The resource allows " + status.header.Get("Allow") + "."
			w.Header().Set("Allow", status.header.Get("Allow"))
		}
		none := refuse(status.code, "request.not_found", detail).answer()
		none.write(w)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// statusOnly takes the status of an answer and its header.
type statusOnly struct {
	header http.Header
	code   int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(code int)        { s.code = code }

// route is one operation. do returns what is encoded as the answer's body; nil:
// none (204).
type route struct {
	method, path string
	scope        Scope
	changes      bool // takes an Idempotency-Key, and is a line in the log
	do           func(s *Server, r *request) (any, error)
}

// request is what a route is given.
type request struct {
	*http.Request
	ctx  context.Context
	key  *Key
	body []byte
}

// into decodes the body strictly: a field that is not known was meant to do
// something.
func (r *request) into(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return invalid("The body is not the JSON object this takes: " + err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("The body goes on behind its JSON object.")
	}
	return nil
}

func (s *Server) handler(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.running <- struct{}{}:
			defer func() { <-s.running }()
		default:
			busy := refuse(http.StatusServiceUnavailable, "unavailable", "Too many requests at once.").answer()
			busy.write(w)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		got := s.serve(rt, &request{Request: r, ctx: ctx})
		got.write(w)
	})
}

// serve checks who asks and what, and does it once.
func (s *Server) serve(rt route, r *request) answer {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if r.key = find(s.cfg.Keys, secret); !ok || r.key == nil {
		return refuse(http.StatusUnauthorized, "key.invalid", "Give a key: Authorization: Bearer "+secretPrefix+"….").answer()
	}
	if !slices.Contains(r.key.Scopes, rt.scope) {
		return refuse(http.StatusForbidden, "key.scope", "The key lacks the scope "+string(rt.scope)+".").answer()
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, bodyBytesMax))
	if err != nil {
		return refuse(http.StatusRequestEntityTooLarge, "request.too_large", "The body is larger than 1 MiB, or did not arrive.").answer()
	}
	r.body = body
	once := r.Header.Get("Idempotency-Key")
	if !rt.changes || once == "" {
		return s.run(rt, r)
	}
	if len(once) > keyBytesMax {
		return invalid("The Idempotency-Key is longer than 255 bytes.").answer()
	}
	once = r.key.ID + "\x00" + once
	first, got, refused := s.answers.begin(once, sha256.Sum256(slices.Concat([]byte(r.Method+" "+r.URL.RequestURI()+"\n"), body)))
	switch {
	case refused != nil:
		return refused.answer()
	case first:
		got = answer{status: http.StatusInternalServerError} // if run panics
		defer func() { s.answers.end(once, got) }()
		got = s.run(rt, r)
	}
	return got
}

// run does what the route says.
func (s *Server) run(rt route, r *request) answer {
	v, err := rt.do(s, r)
	if rt.changes {
		outcome := "done"
		if err != nil {
			outcome = problemOf(err).Code
		}
		s.cfg.Logger.Info("admin", "key", r.key.ID, "method", r.Method, "path", r.URL.Path, "outcome", outcome)
	}
	if err != nil {
		p := problemOf(err)
		if p.Status == http.StatusInternalServerError {
			s.cfg.Logger.Error("admin request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
		return p.answer()
	}
	if v == nil {
		return answer{status: http.StatusNoContent, kind: "application/json"}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: an answer is not JSON: " + err.Error())
	}
	return answer{http.StatusOK, "application/json", append(b, '\n')}
}
