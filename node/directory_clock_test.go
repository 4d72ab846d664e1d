package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
)

func TestStampsFollowTheStoreAndGoOnWithoutIt(t *testing.T) {
	now, store, err := time.UnixMilli(1_000_000), router.TimestampOf(5_000_000), error(nil)
	c := &storeClock{
		ask: func(context.Context) (router.Timestamp, error) { return store, err },
		now: func() time.Time { return now },
	}
	s := newStamps(c.milliseconds)
	want := func(ms int64) {
		t.Helper()
		if got := router.Timestamp(s.next(0)).Milliseconds(); got != ms {
			t.Errorf("the stamp is of %d, want %d", got, ms)
		}
	}
	want(1_000_000) // the clock of this machine
	c.adjust(t.Context())
	want(5_000_000)
	err = errors.New("away")
	now = now.Add(3 * time.Second)
	c.adjust(t.Context())
	want(5_003_000)
	err, store = nil, router.TimestampOf(4_000_000) // a store that was made anew
	c.adjust(t.Context())
	want(5_003_000)
}
