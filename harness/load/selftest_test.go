package load

import (
	"runtime"
	"strings"
	"testing"
)

func TestSelfTestCatchesEveryPlantedFault(t *testing.T) {
	t.Parallel() // waits for its stages most of the time
	if runtime.GOOS != "linux" {
		t.Skip("load is generated on Linux only")
	}
	var out strings.Builder
	err := SelfTest(t.Context(), &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "29 of 29 caught") {
		t.Error("some faults were not planted, or not all caught")
	}
}
