package load

import (
	"time"

	"github.com/godwit-im/godwit"
)

// scansMax is how many sessions read back at the same time.
const scansMax = 32

// verify reads every history back and compares it with what was delivered; in
// runs without messages it asks every session for an answer instead.
func (l *loop) verify(messages bool, until time.Duration) error {
	l.scan.next, l.scan.done = 0, 0
	if messages {
		for range scansMax {
			l.scanNext()
		}
	} else {
		for i := range l.sessions {
			l.begin(uint32(i), opProbe, l.now())
		}
		l.stages.rows[stageVerify].Scheduled, l.stages.rows[stageVerify].Started = uint64(len(l.sessions)), uint64(len(l.sessions))
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

// scanNext begins with the next session that was not read back yet.
func (l *loop) scanNext() {
	if l.scan.next < len(l.sessions) {
		i := uint32(l.scan.next)
		l.scan.next++
		l.readPage(i, l.check.users[i].start)
	}
}

func (l *loop) readPage(i uint32, after godwit.Seq) {
	l.busy++
	row := &l.stages.rows[stageVerify]
	row.Scheduled, row.Started = row.Scheduled+1, row.Started+1
	s := &l.sessions[i]
	s.queue = append(s.queue, operation{kind: opReadBack, after: after, due: l.now()})
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
		l.readPage(i, last)
		return
	}
	l.check.readBackEnd(l.first+i, last)
	l.sessions[i].answered = true
	l.scan.done++
	l.scanNext()
}
