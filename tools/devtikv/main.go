// Command devtikv is a small server that speaks as much of PD and TiKV as client-go
// needs, to develop against.
package main

import (
	_ "github.com/pingcap/kvproto/pkg/pdpb"
	_ "github.com/pingcap/kvproto/pkg/tikvpb"
	_ "github.com/tikv/client-go/v2/testutils"
	_ "google.golang.org/grpc"
)

func main() {}
