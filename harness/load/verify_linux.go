package load

import (
	"time"

	"github.com/godwit-im/godwit"
)

// scansMax is how many sessions are read back or asked at the same time by one
// of the generator's processes; of sixty, a server's queue of reads holds all.
const scansMax = 8

// readBackLeast is how long sessions have for reading back, however short the stage's
// patience: that is for what may never come, and a reading ends by itself.
const readBackLeast = time.Minute

// scanTriesMax bounds how often one is asked that the server could not serve just then.
const scanTriesMax = 100

// verify asks every session for an answer. Where messages went, or everywhere if
// all, the answer is the whole history, which is compared with what was
// delivered; else it is the head of a log that must have nothing new.
func (l *loop) verify(all bool, until time.Duration) error {
	l.scan.next, l.scan.all = 0, all
	for range scansMax {
		l.scanNext()
	}
	err := l.pump(until, func() bool { return l.busy == 0 })
	silent := 0
	for i := range l.sessions {
		if !l.sessions[i].answered {
			silent++
		}
	}
	if silent > 0 {
		l.check.problem("%d of %d sessions did not answer in the verify stage", silent, len(l.sessions))
	}
	return err
}

// scanNext begins with the next session that was not asked yet.
func (l *loop) scanNext() {
	if l.scan.next >= len(l.sessions) {
		return
	}
	i := uint32(l.scan.next)
	l.scan.next++
	o := operation{kind: opProbe}
	if l.scan.all || l.check.involved(l.first+i) {
		o = operation{kind: opReadBack, after: l.check.users[i].start}
	}
	l.scanWith(i, o)
}

func (l *loop) scanWith(i uint32, o operation) {
	l.busy++
	row := &l.stages.rows[stageVerify]
	row.Scheduled, row.Started = row.Scheduled+1, row.Started+1
	o.due = l.now()
	s := &l.sessions[i]
	s.queue = append(s.queue, o)
	l.submit(i)
}

// readOn takes a page and asks for the next one.
func (l *loop) readOn(i uint32, after godwit.Seq, page *godwit.HistoryReply) {
	l.check.readBack(l.first+i, after, page.Entries)
	last := after
	if n := len(page.Entries); n > 0 {
		last = page.Entries[n-1].Seq
	}
	if page.More && last > after {
		l.scanWith(i, operation{kind: opReadBack, after: last})
		return
	}
	l.check.readBackEnd(l.first+i, last)
	l.sessions[i].answered = true
	l.scanNext()
}

// probed takes the head of a log.
func (l *loop) probed(i uint32, head godwit.Seq) {
	l.check.readBackEnd(l.first+i, head)
	l.sessions[i].answered = true
	l.scanNext()
}
