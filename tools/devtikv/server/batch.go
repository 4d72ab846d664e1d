package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/tikv/client-go/v2/tikvrpc"
)

// answers sends to one stream, late if told so, from several goroutines.
type answers struct {
	mu     sync.Mutex
	stream tikvpb.Tikv_BatchCommandsServer
	ended  bool // the stream's handler returned: sending is no longer allowed
}

func (a *answers) send(batch *tikvpb.BatchCommandsResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		_ = a.stream.Send(batch) // a stream that failed fails Recv as well
	}
}

func (a *answers) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// BatchCommands answers the commands of one connection in their order.
func (s *Server) BatchCommands(stream tikvpb.Tikv_BatchCommandsServer) error {
	out := &answers{stream: stream}
	defer out.end()
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		slow, stalled := s.faults.delay()
		if stalled {
			s.injected.add("stalled", uint64(len(request.Requests)))
			continue
		}
		batch := new(tikvpb.BatchCommandsResponse)
		for i, r := range request.Requests {
			answer, err := s.respond(stream.Context(), r)
			if err != nil {
				return err
			}
			if answer != nil {
				batch.RequestIds = append(batch.RequestIds, request.RequestIds[i])
				batch.Responses = append(batch.Responses, answer)
			}
		}
		switch {
		case len(batch.Responses) == 0:
		case slow > 0:
			time.AfterFunc(slow, func() { out.send(batch) })
		default:
			out.send(batch)
		}
	}
}

// SplitRegion cuts a region at keys.
func (s *Server) SplitRegion(ctx context.Context, r *kvrpcpb.SplitRegionRequest) (*kvrpcpb.SplitRegionResponse, error) {
	if err := s.faults.pause(ctx); err != nil {
		return nil, err
	}
	answer, err := s.execute(ctx, tikvrpc.CmdSplitRegion, r, r.Context)
	if err != nil {
		return nil, err
	}
	return answer.(*kvrpcpb.SplitRegionResponse), nil
}

// MvccGetByKey returns every version of a key.
func (s *Server) MvccGetByKey(ctx context.Context, r *kvrpcpb.MvccGetByKeyRequest) (*kvrpcpb.MvccGetByKeyResponse, error) {
	if err := s.faults.pause(ctx); err != nil {
		return nil, err
	}
	answer, err := s.execute(ctx, tikvrpc.CmdMvccGetByKey, r, r.Context)
	if err != nil {
		return nil, err
	}
	return answer.(*kvrpcpb.MvccGetByKeyResponse), nil
}

// GetStoreSafeTS says that stale reads are not served.
func (s *Server) GetStoreSafeTS(ctx context.Context, _ *kvrpcpb.StoreSafeTSRequest) (*kvrpcpb.StoreSafeTSResponse, error) {
	if err := s.faults.pause(ctx); err != nil {
		return nil, err
	}
	s.pdCount.add("store_safe_ts", 1)
	return &kvrpcpb.StoreSafeTSResponse{}, nil
}
