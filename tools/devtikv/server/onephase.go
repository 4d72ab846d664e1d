package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/tikv/client-go/v2/tikvrpc"
)

// onePhaseMemoMax is how many commits in one phase are remembered. A client asks
// again within seconds, so the oldest are of no use.
const onePhaseMemoMax = 1 << 16

// onePhaseMemo knows when a transaction committed in one phase, so that the same
// request, sent again by a client that did not hear the answer, gets it again.
type onePhaseMemo struct {
	commits map[uint64]uint64 // start → commit
	order   []uint64          // ring of starts, oldest at next
	next    int
}

func newOnePhaseMemo() onePhaseMemo { return onePhaseMemo{commits: make(map[uint64]uint64)} }

func (m *onePhaseMemo) put(start, commit uint64) {
	if len(m.order) < onePhaseMemoMax {
		m.order = append(m.order, start)
	} else {
		delete(m.commits, m.order[m.next])
		m.order[m.next] = start
		m.next = (m.next + 1) % onePhaseMemoMax
	}
	m.commits[start] = commit
}

// commitOnePhase prewrites and commits under a lock that excludes every other
// request: nobody ever sees the locks. The mock knows two phases only.
func (s *Server) commitOnePhase(ctx context.Context, request *kvrpcpb.PrewriteRequest) (*kvrpcpb.PrewriteResponse, error) {
	s.onePhaseLock.Lock()
	defer s.onePhaseLock.Unlock()
	if commit, ok := s.memo.commits[request.StartVersion]; ok {
		return &kvrpcpb.PrewriteResponse{OnePcCommitTs: commit}, nil
	}
	sent, err := s.forward(ctx, tikvrpc.CmdPrewrite, request, request.Context)
	if err != nil {
		return nil, err
	}
	answer := sent.(*kvrpcpb.PrewriteResponse)
	if answer.RegionError != nil || len(answer.Errors) > 0 {
		return answer, nil
	}
	commit := &kvrpcpb.CommitRequest{
		Context: request.Context, StartVersion: request.StartVersion, CommitVersion: s.oracle.take(1),
	}
	if request.MaxCommitTs != 0 && commit.CommitVersion > request.MaxCommitTs {
		return answer, nil // too late for one phase; the client goes on in two
	}
	for _, m := range request.Mutations {
		if m.Op != kvrpcpb.Op_CheckNotExists {
			commit.Keys = append(commit.Keys, m.Key)
		}
	}
	sent, err = s.forward(ctx, tikvrpc.CmdCommit, commit, request.Context)
	if err != nil {
		return nil, err
	}
	if done := sent.(*kvrpcpb.CommitResponse); done.RegionError != nil || done.Error != nil {
		// The locks lie there, as after a prewrite; the client goes on in two phases.
		return answer, nil
	}
	s.memo.put(request.StartVersion, commit.CommitVersion)
	answer.OnePcCommitTs = commit.CommitVersion
	return answer, nil
}
