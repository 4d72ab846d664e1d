package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ears hear the lines of one life and tell the model.
type ears struct {
	ready  chan struct{} // closed: the store is open and was judged
	halted chan struct{} // closed: the engine stopped by itself, or did not open

	mu        sync.Mutex
	model     *model
	believing bool // acknowledgements count; false once the power failed
	heard     heard
	dump      []found // of the log being read
	dumps     []logDump
	// contradictions within what is being read.
	contradictions []violation
}

type logDump struct {
	log, head uint64
	entries   []found
}

// heard is what came of a life.
type heard struct {
	ready, closed bool
	fatal, failed string
	proposed      uint64
	acked         uint64 // and believed
	ackedLate     uint64 // after the engine stopped; they were durable before, or are lost now
	erased        uint64 // erasures acknowledged and believed
	read          uint64 // entries found at the start
	stats         stats
	violations    []violation
	stderr        string
}

func newEars(m *model) *ears {
	return &ears{model: m, believing: true, ready: make(chan struct{}), halted: make(chan struct{})}
}

// doubt stops believing. What was believed was said before it returns.
func (e *ears) doubt() {
	e.mu.Lock()
	e.believing = false
	e.mu.Unlock()
}

// result returns what was heard so far.
func (e *ears) result() heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard
}

// listen hears everything until the pipe ends. A last line that is cut short
// does not count: the child was killed while it said what it had read.
func (e *ears) listen(r io.Reader) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("listen to the child: %w", err)
		}
		l, err := parseLine(string(text[:len(text)-1]))
		if err != nil {
			return err
		}
		e.hear(&l)
	}
}

func (e *ears) hear(l *line) {
	e.mu.Lock()
	defer e.mu.Unlock()
	h, v := &e.heard, &l.v
	switch l.kind {
	case linePropose:
		h.proposed++
		e.model.propose(v[0], entryID{uint32(v[1]), v[2]})
	case lineAcked:
		if e.believing {
			h.acked++
			h.violations = append(h.violations, e.model.acked(v[0], foundOf(v))...)
			if h.fatal != "" {
				h.ackedLate++
			}
		}
	case lineErase:
		e.model.erase(v[0], v[1])
	case lineErased:
		if e.believing {
			h.erased++
			e.model.erasedAcked(v[0], v[1])
		}
	case lineEntry:
		e.dump = append(e.dump, foundOf(v))
	case lineHead:
		e.dumps = append(e.dumps, logDump{v[0], v[1], e.dump})
		e.dump = nil
	case lineReady:
		e.judge()
		close(e.ready)
	case lineInconsistent:
		e.contradictions = append(e.contradictions, violation{kindInconsistent, l.text})
	case lineStats:
		copy(h.stats[:], v[:])
	case lineClosed:
		h.closed = true
	case lineFatal, lineFailed:
		if h.fatal == "" && h.failed == "" {
			close(e.halted)
		}
		if l.kind == lineFatal {
			h.fatal = l.text
		} else {
			h.failed = l.text
		}
	}
}

func foundOf(v *[numbersMax]uint64) found {
	return found{seq: v[1], id: entryID{uint32(v[2]), v[3]}, hash: v[4]}
}

// judge compares a whole dump. The power may fail while the child reads: then
// nothing of it counts.
func (e *ears) judge() {
	e.heard.ready = true
	e.heard.violations = append(e.heard.violations, e.contradictions...)
	for _, d := range e.dumps {
		e.heard.read += uint64(len(d.entries))
		e.heard.violations = append(e.heard.violations, e.model.compare(d.log, d.head, d.entries)...)
	}
	e.dumps = nil
}
