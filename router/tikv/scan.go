package tikv

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/tikvrpc"
	"github.com/tikv/client-go/v2/txnkv/txnlock"

	"github.com/godwit-im/godwit/router"
)

// pageMax is how many pairs one request asks for.
const pageMax = 256

// scanBackoffMS bounds the sum of a scan's pauses; its deadline is sooner.
const scanBackoffMS = 20_000

// scanRange is what a scan covers. An empty end is the end of all keys.
type scanRange struct {
	start, end []byte
	limit      int
}

func (r *scanRange) covers(key []byte) bool {
	return bytes.Compare(key, r.start) >= 0 && (len(r.end) == 0 || bytes.Compare(key, r.end) < 0)
}

// scan reads a range as of a version, region by region. client-go's own iterator
// takes no context, so a store that is silent would hold it for a minute.
func scan(ctx context.Context, client *tikv.KVStore, version uint64, r scanRange) (pairs []router.Pair, err error) {
	if len(r.end) > 0 && bytes.Compare(r.start, r.end) >= 0 {
		return nil, nil
	}
	bo := tikv.NewBackofferWithVars(ctx, scanBackoffMS, nil)
	for len(pairs) < r.limit {
		page, next, err := scanPage(ctx, bo, client, version, scanRange{r.start, r.end, min(r.limit-len(pairs), pageMax)})
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, page...)
		if next == nil {
			break
		}
		r.start = next
	}
	return pairs, nil
}

// scanPage asks one region. next is where to go on, nil when all was seen.
func scanPage(ctx context.Context, bo *tikv.Backoffer, client *tikv.KVStore, version uint64, r scanRange) (page []router.Pair, next []byte, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		region, err := client.GetRegionCache().LocateKey(bo, r.start)
		if err != nil {
			return nil, nil, err
		}
		end, last := r.end, true
		if len(region.EndKey) > 0 && (len(end) == 0 || bytes.Compare(region.EndKey, end) < 0) {
			end, last = region.EndKey, false
		}
		request := tikvrpc.NewRequest(tikvrpc.CmdScan, &kvrpcpb.ScanRequest{
			StartKey: r.start, EndKey: end, Limit: uint32(r.limit), Version: version,
		})
		response, err := client.SendReq(bo, request, region.Region, tikv.ReadTimeoutShort)
		if err != nil {
			return nil, nil, err
		}
		again, err := retryRegion(bo, response)
		if err != nil {
			return nil, nil, err
		}
		if again {
			continue
		}
		answer, ok := response.Resp.(*kvrpcpb.ScanResponse)
		if !ok {
			return nil, nil, errors.New("a scan without an answer")
		}
		if answer.Error != nil {
			if err := waitLock(bo, client, version, answer.Error); err != nil {
				return nil, nil, err
			}
			continue
		}
		page, lastKey, err := readPairs(ctx, client, version, answer.Pairs)
		switch {
		case err != nil:
			return nil, nil, err
		case len(answer.Pairs) >= r.limit:
			return page, append(lastKey, 0), nil
		case last:
			return page, nil, nil
		}
		return page, end, nil
	}
}

// retryRegion says whether the region turned the request away, after a pause.
func retryRegion(bo *tikv.Backoffer, response *tikvrpc.Response) (again bool, err error) {
	failure, err := response.GetRegionError()
	if err != nil || failure == nil {
		return false, err
	}
	return true, bo.Backoff(tikv.BoRegionMiss(), errors.New(failure.String()))
}

// waitLock resolves a lock that is in the way of a whole answer, or waits for it.
func waitLock(bo *tikv.Backoffer, client *tikv.KVStore, version uint64, failure *kvrpcpb.KeyError) error {
	lock, err := txnlock.ExtractLockFromKeyErr(failure)
	if err != nil {
		return err
	}
	wait, err := client.GetLockResolver().ResolveLocks(bo, version, []*txnlock.Lock{lock})
	if err != nil || wait <= 0 {
		return err
	}
	return bo.BackoffWithMaxSleepTxnLockFast(int(wait), errors.New("a key of the range is locked"))
}

// readPairs turns an answer into pairs; what is locked is read by itself, which waits
// for the lock or resolves it.
func readPairs(ctx context.Context, client *tikv.KVStore, version uint64, answered []*kvrpcpb.KvPair) (page []router.Pair, last []byte, err error) {
	for _, p := range answered {
		key, value := p.Key, p.Value
		if p.Error != nil {
			lock, err := txnlock.ExtractLockFromKeyErr(p.Error)
			if err != nil {
				return nil, nil, err
			}
			key = lock.Key
			entry, err := client.GetSnapshot(version).Get(ctx, key)
			if absent(err) != nil {
				return nil, nil, err
			}
			value = entry.Value
		}
		last = key
		if len(value) > 0 {
			page = append(page, router.Pair{Key: bytes.Clone(key), Value: bytes.Clone(value)})
		}
	}
	return page, bytes.Clone(last), nil
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
