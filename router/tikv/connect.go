package tikv

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/tikv"
	pd "github.com/tikv/pd/client"
	"github.com/tikv/pd/client/opt"
)

// probeKey is read to see whether TiKV answers. Nobody writes it.
var probeKey = []byte("godwit probe")

// attend connects, and then probes whenever the breaker opened, until Close.
func (s *Store) attend() {
	defer s.running.Done()
	pause := s.config.RetryMin
	for first := true; ; first = false {
		s.breaker.probing()
		err := s.probe()
		s.breaker.probed(err == nil, time.Now())
		if first {
			close(s.tried)
		}
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.config.Logger.Debug("tikv does not answer", slog.Any("error", err), slog.Duration("again_in", pause))
			if !sleep(s.ctx, pause) {
				return
			}
			pause = min(2*pause, s.config.RetryMax)
			continue
		}
		s.config.Logger.Info("tikv answers")
		s.config.Changed(BreakerClosed)
		pause = s.config.RetryMin
		select {
		case <-s.breaker.tripped:
			s.config.Logger.Warn("tikv does not answer; it is not asked until it does")
			s.config.Changed(BreakerOpen)
		case <-s.ctx.Done():
			return
		}
	}
}

// probe takes a timestamp and reads a key, over a first connection if need be.
func (s *Store) probe() error {
	client := s.client.Load()
	if client == nil {
		var err error
		if client, err = s.connect(); err != nil {
			return err
		}
		s.client.Store(client)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.config.Timeout)
	defer cancel()
	bo := tikv.NewBackofferWithVars(ctx, s.backoffMS(), nil)
	if _, err := client.GetTimestampWithRetry(bo, oracle.GlobalTxnScope); err != nil {
		return fmt.Errorf("probe: timestamp: %w", err)
	}
	if _, err := client.GetSnapshot(newest).Get(ctx, probeKey); absent(err) != nil {
		return fmt.Errorf("probe: get: %w", err)
	}
	return nil
}

// connect makes the clients of PD and of TiKV. What txnkv.NewClient adds is left out:
// security from a global configuration, and etcd for the time before which versions
// are collected, which no call of ours ever gets near (Collect).
func (s *Store) connect() (*tikv.KVStore, error) {
	security := config.Security{ClusterSSLCA: s.config.CA, ClusterSSLCert: s.config.Cert, ClusterSSLKey: s.config.Key}
	placement, err := pd.NewClientWithContext(s.ctx, s.config.PD,
		pd.SecurityOption{CAPath: s.config.CA, CertPath: s.config.Cert, KeyPath: s.config.Key},
		opt.WithCustomTimeoutOption(s.config.Timeout), opt.WithMaxErrorRetry(1))
	if err != nil {
		return nil, fmt.Errorf("connect to pd: %w", err)
	}
	codec := tikv.NewCodecPDClient(tikv.ModeTxn, placement)
	rpc := tikv.NewRPCClient(tikv.WithSecurity(security), tikv.WithCodec(codec.GetCodec()))
	client, err := tikv.NewKVStore("godwit", codec, tikv.NewMockSafePointKV(), rpc)
	if err != nil {
		placement.Close()
		_ = rpc.Close()
		return nil, fmt.Errorf("connect to tikv: %w", err)
	}
	return client, nil
}
