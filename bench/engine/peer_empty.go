package main

import "time"

// empty acknowledges after the time of a sync and stores nothing: what it costs
// is what the harness costs.
type empty struct{ *grouper }

func openEmpty(o openOptions) (peer, error) {
	sync := time.Duration(o.MicrosPerSync * float64(time.Microsecond))
	return empty{newGrouper(1, func([]*pending) error {
		time.Sleep(sync)
		return nil
	})}, nil
}

func (empty) Settle(<-chan struct{}) error { return nil }
func (empty) Prepare([]uint32)             {}
func (empty) Count() (uint64, error)       { return 0, nil }

func (empty) Page(uint32, uint64, int, func([]byte)) (uint64, error) { return 0, errNoReads }

func (e empty) Close() error {
	e.close()
	return nil
}
