package routertest

import (
	"context"
	"math/rand/v2"
	"runtime"

	"github.com/godwit-im/godwit/router"
)

// Weak makes of a store one as unfriendly as the contract allows: one transaction in
// twenty is told a conflict that there was not, one in twenty a commit of unknown
// outcome that took effect, and one in twenty such a commit that did not. Others get
// their turn between a transaction's begin, reads and commit.
func Weak(s router.Store) router.Store { return weak{s} }

type weak struct{ router.Store }

func (w weak) Update(ctx context.Context, fn func(tx router.Tx) error) error {
	fate := rand.IntN(20)
	err := w.Store.Update(ctx, func(tx router.Tx) error {
		yield()
		err := fn(tx)
		yield()
		switch {
		case err != nil:
			return err
		case fate == 0:
			return router.ErrConflict
		case fate == 1:
			return router.ErrUnknown
		}
		return nil
	})
	if err == nil && fate == 2 {
		return router.ErrUnknown
	}
	return err
}

func (w weak) BatchGet(ctx context.Context, keys [][]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		yield()
		value, err := w.Store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

func yield() {
	for range rand.IntN(4) {
		runtime.Gosched()
	}
}

// Overtaken calls between after each transaction's function and before its commit:
// what another does at the worst moment.
func Overtaken(s router.Store, between func()) router.Store { return overtaken{s, between} }

type overtaken struct {
	router.Store
	between func()
}

func (o overtaken) Update(ctx context.Context, fn func(tx router.Tx) error) error {
	return o.Store.Update(ctx, func(tx router.Tx) error {
		err := fn(tx)
		o.between()
		return err
	})
}
