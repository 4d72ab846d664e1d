package routertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/godwit-im/godwit/router"
)

// patience bounds every test of the suite: none waits for time to pass.
const patience = 60 * time.Second

// Run runs the suite. open returns a store that the test closes; those of one suite
// may share their data, with others too: the tests use names of their own.
func Run(t *testing.T, open func(t testing.TB) router.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s router.Store)
	}{
		{"ReadsWhatWasCommitted", testReads},
		{"ScansInOrder", testScan},
		{"TransactionSeesItsBeginAndItsOwnWrites", testSnapshot},
		{"WritesOfOneKeyConflict", testConflict},
		{"LockedKeysConflict", testLock},
		{"ErrorOfTheFunctionHasNoEffect", testAbort},
		{"CountersLoseNothing", testCounter},
		{"TimestampsGrow", testTimestamps},
		{"EndedContextIsUnavailable", testContext},
		{"ClaimRaisesTheEpoch", testEpochs},
		{"LargerEpochSupersedes", testSuperseded},
		{"ReleasedLeaseKillsItsRoutes", testReleased},
		{"DeathOfAnEdgeIsOneKey", testDeath},
		{"StillBeatIsDeath", testStillBeat},
		{"RegisterKeepsTheNewest", testNewest},
		{"LateRegisterDoesNotReturn", testLateRegister},
		{"UnregisterIsExact", testUnregister},
		{"AForgottenUserWasNeverSeen", testForget},
		{"DevicesAreBounded", testDevices},
		{"RaceLeavesTheNewest", testRace},
		{"RaceOfRegisterAndUnregister", testChurn},
		{"OlderTokenIsFenced", testFencing},
		{"LockMovesWhenItsBeatStands", testLockMoves},
		{"MapVersions", testMap},
		{"ForgottenEdgeStaysDead", testForgotten},
		{"RegistrarRegistersAll", testRegistrar},
		{"RegistrarFollowsItsSessions", testRegistrarChurn},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			defer func() { must(t, s.Close()) }()
			test.run(t, s)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the answer is %v, want %v", err, want)
	}
}

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// unique is a name that no other test has.
func unique() string { return fmt.Sprintf("t%016x", rand.Uint64()) }

// stubborn repeats a transaction until its outcome is known: fn must be such that a
// second effect does no harm.
func stubborn(ctx context.Context, s router.Store, fn func(tx router.Tx) error) error {
	for {
		err := s.Update(ctx, fn)
		if !errors.Is(err, router.ErrConflict) && !errors.Is(err, router.ErrUnknown) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
