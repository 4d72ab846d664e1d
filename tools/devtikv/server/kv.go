package server

import (
	"context"
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/tikv/client-go/v2/tikvrpc"
)

// forward lets the mock store answer.
func (s *Server) forward(ctx context.Context, kind tikvrpc.CmdType, request any, of *kvrpcpb.Context) (any, error) {
	if of == nil {
		of = &kvrpcpb.Context{}
	}
	answer, err := s.mock.SendRequest(ctx, s.kvAddr, tikvrpc.NewRequest(kind, request, *of), time.Minute)
	if err != nil {
		return nil, fmt.Errorf("mock store: %w", err)
	}
	return answer.Resp, nil
}

// execute counts a request and answers it, or not: a nil answer never comes.
func (s *Server) execute(ctx context.Context, kind tikvrpc.CmdType, request any, of *kvrpcpb.Context) (any, error) {
	prewrite, _ := request.(*kvrpcpb.PrewriteRequest)
	onePhase := prewrite != nil && prewrite.TryOnePc && !s.twoPhase
	name := kindName(kind)
	if onePhase {
		name = "1pc"
	}
	s.kvCount.add(name, 1)
	if hit, _, n := s.faults.roll(func(f *Faults) float64 { return f.RegionErrors }); hit && of != nil {
		if failure := s.regionError(of.RegionId, n); failure != nil {
			s.injected.add("region_error", 1)
			answer, err := tikvrpc.GenRegionErrorResp(tikvrpc.NewRequest(kind, request), failure)
			if err != nil {
				return nil, err
			}
			return answer.Resp, nil
		}
	}
	lost := false
	if onePhase || kind == tikvrpc.CmdCommit {
		hit, heads, _ := s.faults.roll(func(f *Faults) float64 { return f.Undetermined })
		if hit {
			s.injected.add("undetermined", 1)
			if heads {
				return nil, nil
			}
			lost = true
		}
	}
	var answer any
	var err error
	if onePhase {
		answer, err = s.commitOnePhase(ctx, prewrite)
	} else {
		s.onePhaseLock.RLock()
		answer, err = s.forward(ctx, kind, request, of)
		s.onePhaseLock.RUnlock()
	}
	if lost {
		return nil, err
	}
	return answer, err
}

var kindNames = map[tikvrpc.CmdType]string{
	tikvrpc.CmdGet: "get", tikvrpc.CmdBatchGet: "batch_get", tikvrpc.CmdScan: "scan",
	tikvrpc.CmdPrewrite: "prewrite", tikvrpc.CmdCommit: "commit", tikvrpc.CmdCleanup: "cleanup",
	tikvrpc.CmdBatchRollback: "rollback", tikvrpc.CmdCheckTxnStatus: "check_txn_status",
	tikvrpc.CmdResolveLock: "resolve_lock", tikvrpc.CmdScanLock: "scan_lock", tikvrpc.CmdTxnHeartBeat: "heartbeat",
	tikvrpc.CmdPessimisticLock: "pessimistic_lock", tikvrpc.CmdPessimisticRollback: "pessimistic_rollback",
	tikvrpc.CmdDeleteRange: "delete_range", tikvrpc.CmdGC: "gc", tikvrpc.CmdMvccGetByKey: "mvcc_get",
	tikvrpc.CmdSplitRegion: "split_region",
}

func kindName(kind tikvrpc.CmdType) string {
	if name, ok := kindNames[kind]; ok {
		return name
	}
	return "other"
}

// respond answers one command of a batch; nil: it is never answered.
//
//tidy:long one case per command
func (s *Server) respond(ctx context.Context, r *tikvpb.BatchCommandsRequest_Request) (*tikvpb.BatchCommandsResponse_Response, error) {
	out := new(tikvpb.BatchCommandsResponse_Response)
	var answer any
	var err error
	switch c := r.Cmd.(type) {
	case *tikvpb.BatchCommandsRequest_Request_Get:
		if answer, err = s.execute(ctx, tikvrpc.CmdGet, c.Get, c.Get.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_Get{Get: answer.(*kvrpcpb.GetResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_BatchGet:
		if answer, err = s.execute(ctx, tikvrpc.CmdBatchGet, c.BatchGet, c.BatchGet.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_BatchGet{BatchGet: answer.(*kvrpcpb.BatchGetResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_Scan:
		if answer, err = s.execute(ctx, tikvrpc.CmdScan, c.Scan, c.Scan.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_Scan{Scan: answer.(*kvrpcpb.ScanResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_Prewrite:
		if answer, err = s.execute(ctx, tikvrpc.CmdPrewrite, c.Prewrite, c.Prewrite.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_Prewrite{Prewrite: answer.(*kvrpcpb.PrewriteResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_Commit:
		if answer, err = s.execute(ctx, tikvrpc.CmdCommit, c.Commit, c.Commit.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_Commit{Commit: answer.(*kvrpcpb.CommitResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_Cleanup:
		if answer, err = s.execute(ctx, tikvrpc.CmdCleanup, c.Cleanup, c.Cleanup.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_Cleanup{Cleanup: answer.(*kvrpcpb.CleanupResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_BatchRollback:
		if answer, err = s.execute(ctx, tikvrpc.CmdBatchRollback, c.BatchRollback, c.BatchRollback.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_BatchRollback{BatchRollback: answer.(*kvrpcpb.BatchRollbackResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_CheckTxnStatus:
		if answer, err = s.execute(ctx, tikvrpc.CmdCheckTxnStatus, c.CheckTxnStatus, c.CheckTxnStatus.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_CheckTxnStatus{CheckTxnStatus: answer.(*kvrpcpb.CheckTxnStatusResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_ResolveLock:
		if answer, err = s.execute(ctx, tikvrpc.CmdResolveLock, c.ResolveLock, c.ResolveLock.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_ResolveLock{ResolveLock: answer.(*kvrpcpb.ResolveLockResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_ScanLock:
		if answer, err = s.execute(ctx, tikvrpc.CmdScanLock, c.ScanLock, c.ScanLock.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_ScanLock{ScanLock: answer.(*kvrpcpb.ScanLockResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_TxnHeartBeat:
		if answer, err = s.execute(ctx, tikvrpc.CmdTxnHeartBeat, c.TxnHeartBeat, c.TxnHeartBeat.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_TxnHeartBeat{TxnHeartBeat: answer.(*kvrpcpb.TxnHeartBeatResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_PessimisticLock:
		if answer, err = s.execute(ctx, tikvrpc.CmdPessimisticLock, c.PessimisticLock, c.PessimisticLock.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_PessimisticLock{PessimisticLock: answer.(*kvrpcpb.PessimisticLockResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_PessimisticRollback:
		if answer, err = s.execute(ctx, tikvrpc.CmdPessimisticRollback, c.PessimisticRollback, c.PessimisticRollback.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_PessimisticRollback{PessimisticRollback: answer.(*kvrpcpb.PessimisticRollbackResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_DeleteRange:
		if answer, err = s.execute(ctx, tikvrpc.CmdDeleteRange, c.DeleteRange, c.DeleteRange.Context); answer != nil {
			out.Cmd = &tikvpb.BatchCommandsResponse_Response_DeleteRange{DeleteRange: answer.(*kvrpcpb.DeleteRangeResponse)}
		}
	case *tikvpb.BatchCommandsRequest_Request_GetHealthFeedback:
		out.Cmd = &tikvpb.BatchCommandsResponse_Response_GetHealthFeedback{GetHealthFeedback: &kvrpcpb.GetHealthFeedbackResponse{}}
	default:
		out.Cmd = &tikvpb.BatchCommandsResponse_Response_Empty{Empty: &tikvpb.BatchCommandsEmptyResponse{}}
	}
	if err != nil || out.Cmd == nil {
		return nil, err
	}
	return out, nil
}
