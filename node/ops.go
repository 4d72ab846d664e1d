package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// phase is what /readyz tells a load balancer.
type phase int32

const (
	starting phase = iota
	ready
	draining
	failed
	waiting // an edge process whose engine process is away
)

var phaseNames = [...]string{"starting", "ready", "draining", "failed", "waiting"}

// ops is the endpoint for operators: health, readiness, metrics. It is plain
// net/http on an address of its own, so that it answers while the public side
// is full or going down.
type ops struct {
	phase    atomic.Int32
	degraded func() string // why it is not well though it is ready; empty: it is
	listener net.Listener
	server   *http.Server
	done     chan struct{} // closed when serve has ended
}

// Bounds of the endpoint: operators' tools are few and quick.
const (
	opsTimeout     = 10 * time.Second
	opsCloseMax    = time.Second
	opsHeaderBytes = 16 << 10
)

// startOps listens and serves until close.
func startOps(address string, routes map[string]http.Handler, metrics prometheus.Gatherer, degraded func() string, logger *slog.Logger) (*ops, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for ops: %w", err)
	}
	o := &ops{listener: listener, degraded: degraded, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", o.healthz)
	mux.HandleFunc("GET /readyz", o.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}))
	for pattern, handler := range routes {
		mux.Handle(pattern, handler)
	}
	o.server = &http.Server{
		Handler:           o.guard(mux),
		ReadHeaderTimeout: opsTimeout,
		ReadTimeout:       opsTimeout,
		WriteTimeout:      opsTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    opsHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(o.done)
		if err := o.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("ops endpoint ended", "err", err)
		}
	}()
	return o, nil
}

// guard refuses names a web page could have bound to a loopback address: what
// listens there is meant for this machine alone.
func (o *ops) guard(next http.Handler) http.Handler {
	local := Loopback(o.listener.Addr().String())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local && !Loopback(r.Host) && !Loopback(r.Host+":80") {
			http.Error(w, "the Host must be a loopback name", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (o *ops) set(p phase) { o.phase.Store(int32(p)) }

// turn changes the phase if it is the one named.
func (o *ops) turn(from, to phase) { o.phase.CompareAndSwap(int32(from), int32(to)) }

// healthz says that the process lives; it fails only when it must be restarted.
func (o *ops) healthz(w http.ResponseWriter, _ *http.Request) {
	o.answer(w, phase(o.phase.Load()) != failed, "")
}

// readyz says whether new clients should be sent here: also to a process that is
// degraded, which serves them all the same.
func (o *ops) readyz(w http.ResponseWriter, _ *http.Request) {
	o.answer(w, phase(o.phase.Load()) == ready, o.degraded())
}

func (o *ops) answer(w http.ResponseWriter, ok bool, degraded string) {
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	body := map[string]string{"status": phaseNames[o.phase.Load()]}
	if ok && degraded != "" {
		body["status"], body["reason"] = "degraded", degraded
	}
	_ = json.NewEncoder(w).Encode(body)
}

// close lets answers under way end. A connection that says nothing is cut off:
// it must neither hold up the end of the process nor make it a failure.
func (o *ops) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), opsCloseMax)
	defer cancel()
	err := o.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = o.server.Close()
	}
	<-o.done
	return err
}
