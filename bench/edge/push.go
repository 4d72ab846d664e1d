package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pushSpec is one push by the server: as fast as it takes them, so many a
// second, or to all.
type pushSpec struct {
	Time      time.Duration
	PerSecond int // of opPaced
	Workers   int // goroutines of opFlood
}

// pushResult is what the server handed over. Times are of the monotonic clock.
type pushResult struct {
	Sent  uint64
	Lost  uint64 // given up by the server since it started
	Began int64
}

// Shape of a pushed text: filler with a stamp in it. pushBytes is what the edge
// wraps into an event.
const (
	pushBytes = 128
	stampMark = "@@"
	stampAt   = 8
)

func newText(size int) []byte {
	text := make([]byte, size)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	return text
}

// putStamp writes when the message was due and when it was handed over.
func putStamp(text []byte, due, now int64) {
	copy(text[stampAt:], stampMark)
	putHex(text[stampAt+len(stampMark):], due)
	putHex(text[stampAt+len(stampMark)+16:], now)
}

func putHex(dst []byte, v int64) {
	for i := range 16 {
		dst[i] = "0123456789abcdef"[uint64(v)>>(60-4*i)&15]
	}
}

func runPush(p pusher, op string, q pushSpec) (r pushResult, err error) {
	if p.sessions() == 0 {
		return r, errors.New("there are no sessions to push to")
	}
	r.Began = monotonic()
	switch op {
	case opFlood:
		r.Sent, err = flood(p, q)
	case opPaced:
		r.Sent, err = paced(p, q)
	case opBroadcast:
		r.Sent, err = uint64(p.sessions()), p.broadcast(newText(p.textBytes()))
	}
	r.Lost = p.lost()
	return r, err
}

// holdEvery is how often a flood asks whether the server keeps up.
const holdEvery = 512

// flood pushes to all sessions in turn until the time is over, each worker to
// its own share, and ends after a whole turn of every worker.
func flood(p pusher, q pushSpec) (sent uint64, err error) {
	var wg sync.WaitGroup
	counts, errs := make([]uint64, q.Workers), make([]error, q.Workers)
	end := time.Now().Add(q.Time)
	sessions := p.sessions()
	for w := range q.Workers {
		from, to := sessions*w/q.Workers, sessions*(w+1)/q.Workers
		wg.Go(func() {
			text := newText(p.textBytes())
			for time.Now().Before(end) {
				for s := from; s < to; s++ {
					if counts[w]%holdEvery == 0 {
						p.hold()
					}
					if err := p.push(s, text); err != nil {
						errs[w] = fmt.Errorf("push to session %d: %w", s, err)
						return
					}
					counts[w]++
				}
			}
		})
	}
	wg.Wait()
	for _, n := range counts {
		sent += n
	}
	return sent, errors.Join(errs...)
}

// paced pushes single messages at a steady rate, each due at its own time, from
// a thread that sleeps precisely.
func paced(p pusher, q pushSpec) (sent uint64, err error) {
	done := make(chan error)
	go func() {
		// The thread is not given back: it ends with the goroutine.
		lockThread()
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		var err error
		sent, err = pacedHere(p, q)
		done <- err
	}()
	err = <-done
	return sent, err
}

func pacedHere(p pusher, q pushSpec) (sent uint64, err error) {
	text := newText(p.textBytes())
	every := time.Second.Nanoseconds() / int64(q.PerSecond)
	start := monotonic()
	sessions := uint64(p.sessions())
	for due := start; due < start+q.Time.Nanoseconds(); due += every {
		now := monotonic()
		if now < due {
			at := unix.NsecToTimespec(due)
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil)
			now = monotonic()
		}
		putStamp(text, due, now)
		// A stride that is odd and no divisor of usual numbers visits all in no
		// order that a cache would like.
		session := int(sent * pacedStride % sessions)
		if err := p.push(session, text); err != nil {
			return sent, fmt.Errorf("push to session %d: %w", session, err)
		}
		sent++
	}
	return sent, nil
}

const pacedStride = 7919
