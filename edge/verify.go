package edge

import (
	"errors"
	"sync"

	"github.com/godwit-im/godwit"
)

// verdict is a Verifier's answer for one session.
type verdict struct {
	who     godwit.Identity
	err     error
	request uint64 // id of the refresh frame, if one asked
}

// temporary reports that the same token may be good in a moment: the keys are
// being read, or who knows the ticket can't be asked.
func (v *verdict) temporary() bool {
	var refused *godwit.Error
	return errors.As(v.err, &refused) && refused.Temporary
}

// verifyJob is one token on its way; the token is the job's own copy.
type verifyJob struct {
	session godwit.SessionID
	token   []byte
	request uint64 // id of the refresh frame, if one asks
}

// verifiers checks tokens off the loops: signatures cost tens of microseconds,
// and a key set may have to be fetched. The queue is bounded; a job that does
// not fit is refused and its session told to come back later.
type verifiers struct {
	jobs chan verifyJob
	done sync.WaitGroup
}

func (v *verifiers) start(workers int, check Verifier, answer func(godwit.SessionID, verdict)) {
	for range workers {
		v.done.Go(func() {
			for job := range v.jobs {
				who, err := check.Verify(job.token)
				answer(job.session, verdict{who: who, err: err, request: job.request})
			}
		})
	}
}

// submit never blocks; false when the queue is full. Loops only, until stop.
func (v *verifiers) submit(job verifyJob) bool {
	select {
	case v.jobs <- job:
		return true
	default:
		return false
	}
}

// stop ends the workers after the jobs they have; no submit may follow.
func (v *verifiers) stop() {
	close(v.jobs)
	v.done.Wait()
}
