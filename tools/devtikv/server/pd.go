package server

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/tikv/client-go/v2/tikvrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (s *Server) header() *pdpb.ResponseHeader {
	return &pdpb.ResponseHeader{ClusterId: s.clusterID}
}

// GetMembers names the one PD there is.
func (s *Server) GetMembers(ctx context.Context, _ *pdpb.GetMembersRequest) (*pdpb.GetMembersResponse, error) {
	if err := s.pausePD(ctx, "get_members"); err != nil {
		return nil, err
	}
	member := &pdpb.Member{Name: "dev", MemberId: 1, ClientUrls: []string{s.pdURL}, PeerUrls: []string{s.pdURL}}
	return &pdpb.GetMembersResponse{
		Header: s.header(), Members: []*pdpb.Member{member}, Leader: member, EtcdLeader: member,
	}, nil
}

// GetClusterInfo says that PD gives the timestamps itself.
func (s *Server) GetClusterInfo(ctx context.Context, _ *pdpb.GetClusterInfoRequest) (*pdpb.GetClusterInfoResponse, error) {
	if err := s.pausePD(ctx, "get_cluster_info"); err != nil {
		return nil, err
	}
	return &pdpb.GetClusterInfoResponse{
		Header: s.header(), ServiceModes: []pdpb.ServiceMode{pdpb.ServiceMode_PD_SVC_MODE},
	}, nil
}

// Tso gives timestamps.
func (s *Server) Tso(stream pdpb.PD_TsoServer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if request.Count == 0 {
			return status.Error(codes.InvalidArgument, "a request for no timestamp")
		}
		if err := s.pausePD(stream.Context(), "tso"); err != nil {
			return err
		}
		s.timestamps.Add(uint64(request.Count))
		last := s.oracle.take(request.Count)
		if err := stream.Send(&pdpb.TsoResponse{Header: s.header(), Count: request.Count, Timestamp: split(last)}); err != nil {
			return err
		}
	}
}

func split(ts uint64) *pdpb.Timestamp {
	return &pdpb.Timestamp{Physical: int64(ts >> logicalBits), Logical: int64(ts & (1<<logicalBits - 1))}
}

// GetMinTS gives the newest timestamp.
func (s *Server) GetMinTS(ctx context.Context, _ *pdpb.GetMinTSRequest) (*pdpb.GetMinTSResponse, error) {
	if err := s.pausePD(ctx, "get_min_ts"); err != nil {
		return nil, err
	}
	return &pdpb.GetMinTSResponse{Header: s.header(), Timestamp: split(s.oracle.take(1))}, nil
}

// GetRegion returns the region of a key.
func (s *Server) GetRegion(ctx context.Context, r *pdpb.GetRegionRequest) (*pdpb.GetRegionResponse, error) {
	if err := s.pausePD(ctx, "get_region"); err != nil {
		return nil, err
	}
	region, leader, _, _ := s.cluster.GetRegionByKey(r.RegionKey)
	return &pdpb.GetRegionResponse{Header: s.header(), Region: region, Leader: leader}, nil
}

// GetPrevRegion returns the region before that of a key.
func (s *Server) GetPrevRegion(ctx context.Context, r *pdpb.GetRegionRequest) (*pdpb.GetRegionResponse, error) {
	if err := s.pausePD(ctx, "get_region"); err != nil {
		return nil, err
	}
	region, leader, _, _ := s.cluster.GetPrevRegionByKey(r.RegionKey)
	return &pdpb.GetRegionResponse{Header: s.header(), Region: region, Leader: leader}, nil
}

// GetRegionByID returns a region.
func (s *Server) GetRegionByID(ctx context.Context, r *pdpb.GetRegionByIDRequest) (*pdpb.GetRegionResponse, error) {
	if err := s.pausePD(ctx, "get_region"); err != nil {
		return nil, err
	}
	region, leader, _, _ := s.cluster.GetRegionByID(r.RegionId)
	return &pdpb.GetRegionResponse{Header: s.header(), Region: region, Leader: leader}, nil
}

// ScanRegions returns the regions of a range.
func (s *Server) ScanRegions(ctx context.Context, r *pdpb.ScanRegionsRequest) (*pdpb.ScanRegionsResponse, error) {
	if err := s.pausePD(ctx, "scan_regions"); err != nil {
		return nil, err
	}
	out := &pdpb.ScanRegionsResponse{Header: s.header()}
	for _, region := range s.cluster.ScanRegions(r.StartKey, r.EndKey, int(r.Limit)) {
		out.RegionMetas = append(out.RegionMetas, region.Meta)
		out.Leaders = append(out.Leaders, region.Leader)
		out.Regions = append(out.Regions, &pdpb.Region{Region: region.Meta, Leader: region.Leader})
	}
	return out, nil
}

// BatchScanRegions returns the regions of several ranges, each region once.
func (s *Server) BatchScanRegions(ctx context.Context, r *pdpb.BatchScanRegionsRequest) (*pdpb.BatchScanRegionsResponse, error) {
	if err := s.pausePD(ctx, "scan_regions"); err != nil {
		return nil, err
	}
	out := &pdpb.BatchScanRegionsResponse{Header: s.header()}
	seen := make(map[uint64]bool)
	for _, keys := range r.Ranges {
		for _, region := range s.cluster.ScanRegions(keys.StartKey, keys.EndKey, int(r.Limit)) {
			if id := region.Meta.Id; !seen[id] && (r.Limit <= 0 || len(out.Regions) < int(r.Limit)) {
				seen[id] = true
				out.Regions = append(out.Regions, &pdpb.Region{Region: region.Meta, Leader: region.Leader})
			}
		}
	}
	return out, nil
}

// GetStore returns the store, if it is ours.
func (s *Server) GetStore(ctx context.Context, r *pdpb.GetStoreRequest) (*pdpb.GetStoreResponse, error) {
	if err := s.pausePD(ctx, "get_store"); err != nil {
		return nil, err
	}
	store := s.cluster.GetStore(r.StoreId)
	if store == nil {
		return nil, status.Errorf(codes.NotFound, "invalid store ID %d, not found", r.StoreId)
	}
	return &pdpb.GetStoreResponse{Header: s.header(), Store: store, Stats: &pdpb.StoreStats{}}, nil
}

// GetAllStores returns the one store there is.
func (s *Server) GetAllStores(ctx context.Context, _ *pdpb.GetAllStoresRequest) (*pdpb.GetAllStoresResponse, error) {
	if err := s.pausePD(ctx, "get_store"); err != nil {
		return nil, err
	}
	return &pdpb.GetAllStoresResponse{Header: s.header(), Stores: s.cluster.GetAllStores()}, nil
}

// GetGCSafePoint returns the time before which old versions are gone.
func (s *Server) GetGCSafePoint(ctx context.Context, _ *pdpb.GetGCSafePointRequest) (*pdpb.GetGCSafePointResponse, error) {
	if err := s.pausePD(ctx, "gc_safe_point"); err != nil {
		return nil, err
	}
	return &pdpb.GetGCSafePointResponse{Header: s.header(), SafePoint: s.safePoint.Load()}, nil
}

// UpdateGCSafePoint moves that time forward and removes what lies before it at once;
// a real cluster does that later, each store for itself.
func (s *Server) UpdateGCSafePoint(ctx context.Context, r *pdpb.UpdateGCSafePointRequest) (*pdpb.UpdateGCSafePointResponse, error) {
	if err := s.pausePD(ctx, "gc_safe_point"); err != nil {
		return nil, err
	}
	for {
		old := s.safePoint.Load()
		if r.SafePoint <= old || s.safePoint.CompareAndSwap(old, r.SafePoint) {
			break
		}
	}
	for _, region := range s.cluster.ScanRegions(nil, nil, 0) {
		if err := s.collect(ctx, region.Meta, region.Leader); err != nil {
			return nil, err
		}
	}
	return &pdpb.UpdateGCSafePointResponse{Header: s.header(), NewSafePoint: s.safePoint.Load()}, nil
}

func (s *Server) collect(ctx context.Context, region *metapb.Region, leader *metapb.Peer) error {
	s.onePhaseLock.Lock()
	defer s.onePhaseLock.Unlock()
	request := tikvrpc.NewRequest(tikvrpc.CmdGC, &kvrpcpb.GCRequest{SafePoint: s.safePoint.Load()},
		kvrpcpb.Context{RegionId: region.Id, RegionEpoch: region.RegionEpoch, Peer: leader})
	answer, err := s.mock.SendRequest(ctx, s.kvAddr, request, time.Minute)
	if err != nil {
		return err
	}
	if failed := answer.Resp.(*kvrpcpb.GCResponse); failed.Error != nil || failed.RegionError != nil {
		return status.Errorf(codes.Aborted, "collect: %v", failed)
	}
	return nil
}

// SplitRegions cuts regions at keys.
func (s *Server) SplitRegions(ctx context.Context, r *pdpb.SplitRegionsRequest) (*pdpb.SplitRegionsResponse, error) {
	if err := s.pausePD(ctx, "split_regions"); err != nil {
		return nil, err
	}
	out := &pdpb.SplitRegionsResponse{Header: s.header(), FinishedPercentage: 100}
	for _, key := range r.SplitKeys {
		region, _, _, _ := s.cluster.GetRegionByKey(key)
		if region == nil || string(region.StartKey) == string(key) {
			continue
		}
		ids := s.cluster.AllocIDs(2)
		s.cluster.SplitRaw(region.Id, ids[0], key, ids[1:], ids[1])
		out.RegionsId = append(out.RegionsId, ids[0])
	}
	return out, nil
}

// ScatterRegion has nowhere to scatter to.
func (s *Server) ScatterRegion(ctx context.Context, _ *pdpb.ScatterRegionRequest) (*pdpb.ScatterRegionResponse, error) {
	if err := s.pausePD(ctx, "scatter_region"); err != nil {
		return nil, err
	}
	return &pdpb.ScatterRegionResponse{Header: s.header(), FinishedPercentage: 100}, nil
}

// GetOperator says that whatever was asked for is done.
func (s *Server) GetOperator(ctx context.Context, r *pdpb.GetOperatorRequest) (*pdpb.GetOperatorResponse, error) {
	if err := s.pausePD(ctx, "get_operator"); err != nil {
		return nil, err
	}
	return &pdpb.GetOperatorResponse{Header: s.header(), RegionId: r.RegionId, Status: pdpb.OperatorStatus_SUCCESS}, nil
}
