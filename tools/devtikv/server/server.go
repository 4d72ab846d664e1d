package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/tikv/client-go/v2/testutils"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// Config says where the server listens and what it does wrong.
type Config struct {
	// PD is host:port of the placement driver, what clients are given. Port 0 takes
	// a free one.
	PD string
	// KV is host:port of the store; empty: a free port of PD's host.
	KV string
	// Advertise is the host that clients reach both at; empty: PD's.
	Advertise string
	// Regions is how many the key space is cut into, evenly by the first byte.
	// 0 is 1; at most 256.
	Regions int
	// TwoPhase lets no transaction commit in one phase.
	TwoPhase bool
	// TLS is for both servers; nil is plaintext.
	TLS *tls.Config
	// Seed makes the dice repeatable.
	Seed uint64
	// Faults are those at the start.
	Faults Faults
}

func (c *Config) validate() error {
	if c.Regions == 0 {
		c.Regions = 1
	}
	if c.Regions < 1 || c.Regions > 256 {
		return fmt.Errorf("regions: %d is not between 1 and 256", c.Regions)
	}
	host, _, err := net.SplitHostPort(c.PD)
	if err != nil {
		return fmt.Errorf("pd: %w", err)
	}
	if c.KV == "" {
		c.KV = net.JoinHostPort(host, "0")
	}
	if c.Advertise == "" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return errors.New("pd: clients do not reach an unspecified address: advertise a host")
		}
		c.Advertise = host
	}
	return c.Faults.validate()
}

// Server is a running cluster. All methods may be called concurrently.
type Server struct {
	pdpb.UnimplementedPDServer
	tikvpb.UnimplementedTikvServer

	started      time.Time
	twoPhase     bool
	pdURL        string // as clients know it
	pdAddr       string
	kvAddr       string // as PD names it, and as the mock knows its store
	clusterID    uint64
	oracle       *oracle
	mock         *testutils.MockClient
	cluster      *testutils.MockCluster
	memo         onePhaseMemo
	faults       *faulter
	pdGate       *gate
	kvGate       *gate
	pdServer     *grpc.Server
	kvServer     *grpc.Server
	serving      sync.WaitGroup
	closed       sync.Once
	safePoint    atomic.Uint64
	timestamps   atomic.Uint64
	kvCount      counters
	pdCount      counters
	injected     counters
	onePhaseLock sync.RWMutex // a commit in one phase excludes every other request
}

// Start listens and serves until Close.
func Start(config Config) (*Server, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		started: time.Now(), twoPhase: config.TwoPhase, clusterID: 1, oracle: &oracle{now: time.Now},
		faults: newFaulter(config.Faults, config.Seed), memo: newOnePhaseMemo(),
	}
	if err := s.listen(config); err != nil {
		return nil, err
	}
	mock, cluster, _, err := testutils.NewMockTiKV("", nil)
	if err != nil {
		s.closeListeners()
		return nil, fmt.Errorf("open the mock store: %w", err)
	}
	s.mock, s.cluster = mock, cluster
	s.bootstrap(config.Regions)
	s.serve(config.TLS)
	return s, nil
}

func (s *Server) listen(config Config) error {
	pd, err := net.Listen("tcp", config.PD)
	if err != nil {
		return fmt.Errorf("pd: %w", err)
	}
	kv, err := net.Listen("tcp", config.KV)
	if err != nil {
		_ = pd.Close()
		return fmt.Errorf("kv: %w", err)
	}
	s.pdGate, s.kvGate = newGate(pd), newGate(kv)
	advertised := func(l net.Listener) string {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return net.JoinHostPort(config.Advertise, port)
	}
	s.pdAddr, s.kvAddr = advertised(pd), advertised(kv)
	s.pdURL = "http://" + s.pdAddr
	if config.TLS != nil {
		s.pdURL = "https://" + s.pdAddr
	}
	return nil
}

// bootstrap makes one store and its regions.
func (s *Server) bootstrap(regions int) {
	store, _, region := testutils.BootstrapWithSingleStore(s.cluster)
	s.cluster.UpdateStoreAddr(store, s.kvAddr, &metapb.StoreLabel{Key: "host", Value: "dev"})
	for i := 1; i < regions; i++ {
		ids := s.cluster.AllocIDs(2)
		s.cluster.Split(region, ids[0], []byte{byte(i * 256 / regions)}, ids[1:], ids[1])
		region = ids[0]
	}
}

func (s *Server) serve(security *tls.Config) {
	var options []grpc.ServerOption
	if security != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(security)))
	}
	s.pdServer, s.kvServer = grpc.NewServer(options...), grpc.NewServer(options...)
	pdpb.RegisterPDServer(s.pdServer, s)
	tikvpb.RegisterTikvServer(s.kvServer, s)
	for server, gate := range map[*grpc.Server]*gate{s.pdServer: s.pdGate, s.kvServer: s.kvGate} {
		grpc_health_v1.RegisterHealthServer(server, health.NewServer())
		s.serving.Go(func() { _ = server.Serve(gate) })
	}
}

// PDAddr is host:port of PD: what a client is given.
func (s *Server) PDAddr() string { return s.pdAddr }

// KVAddr is host:port of the store; clients learn it from PD.
func (s *Server) KVAddr() string { return s.kvAddr }

func (s *Server) closeListeners() {
	for _, g := range []*gate{s.pdGate, s.kvGate} {
		g.stop()
		_ = g.Close()
	}
}

// Close cuts all connections and returns when nothing of the server runs any more.
func (s *Server) Close() error {
	var err error
	s.closed.Do(func() {
		s.faults.close()
		s.closeListeners()
		s.pdServer.Stop()
		s.kvServer.Stop()
		s.serving.Wait()
		err = s.mock.Close()
	})
	return err
}

// pausePD counts a request to PD and keeps it as long as the faults say.
func (s *Server) pausePD(ctx context.Context, kind string) error {
	s.pdCount.add(kind, 1)
	return s.faults.pause(ctx)
}
