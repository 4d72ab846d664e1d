// Package tikv keeps a cluster's directory in TiKV, by client-go.
package tikv

import (
	_ "github.com/pingcap/kvproto/pkg/kvrpcpb"
	_ "github.com/tikv/client-go/v2/txnkv"
	_ "github.com/tikv/pd/client"
)
