package e2e

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/godwit-im/godwit"
)

// sent is one message a sender wanted stored, under its client id.
type sent struct{ from, to, text string }

// acked is one answer "stored".
type acked struct {
	from, cid string
	seq       godwit.Seq
	mid       godwit.MessageID
	dup       bool
}

// seen is one entry as a device got it.
type seen struct {
	seq             godwit.Seq
	mid             godwit.MessageID
	conv, from, cid string
	time            int64
	text            string
	canonical       []byte // the whole entry in one encoding, for comparing devices
}

// deviceLog is what one device of a user got, in the order it got it.
type deviceLog struct {
	user, device string
	entries      []seen
}

// history is everything the clients know at the end of a run.
type history struct {
	sent map[string]sent // by client id, unique over the run
	acks []acked
	logs []deviceLog
}

// check returns every broken promise it finds (G1, G2, G3, G5), as sentences.
func (h *history) check() []string {
	c := checker{h: h, reference: map[string][]seen{}}
	for _, log := range h.logs {
		c.checkSequences(log)
		c.checkSameAsOthers(log)
	}
	for _, user := range sortedKeys(c.reference) {
		c.checkContents(user)
	}
	c.checkAcks()
	c.checkSenderOrder()
	return c.broken
}

type checker struct {
	h         *history
	reference map[string][]seen // user → the log of its first device
	broken    []string
}

func (c *checker) report(format string, args ...any) {
	if len(c.broken) < 100 {
		c.broken = append(c.broken, fmt.Sprintf(format, args...))
	}
}

// checkSequences: 1, 2, 3 … without gap or repetition, time never decreasing.
func (c *checker) checkSequences(log deviceLog) {
	for i, e := range log.entries {
		if e.seq != godwit.Seq(i+1) {
			c.report("%s/%s: entry %d has sequence %d", log.user, log.device, i+1, e.seq)
			return
		}
		if i > 0 && e.time < log.entries[i-1].time {
			c.report("%s/%s: time goes back at sequence %d", log.user, log.device, e.seq)
		}
	}
}

// checkSameAsOthers: all devices of a user hold the same log, byte for byte.
func (c *checker) checkSameAsOthers(log deviceLog) {
	first, ok := c.reference[log.user]
	if !ok {
		c.reference[log.user] = log.entries
		return
	}
	if len(first) != len(log.entries) {
		c.report("%s/%s: %d entries, another device has %d", log.user, log.device, len(log.entries), len(first))
	}
	for i := range min(len(first), len(log.entries)) {
		if !bytes.Equal(first[i].canonical, log.entries[i].canonical) {
			c.report("%s/%s: sequence %d differs from another device", log.user, log.device, i+1)
			return
		}
	}
}

// checkContents: every entry was sent, as it was sent, and stands once.
func (c *checker) checkContents(user string) {
	times := map[string]int{}
	for _, e := range c.reference[user] {
		times[e.cid]++
		want, ok := c.h.sent[e.cid]
		peer := want.to
		if user == want.to {
			peer = want.from
		}
		switch {
		case !ok:
			c.report("%s: sequence %d was never sent (cid %s)", user, e.seq, e.cid)
		case e.from != want.from || e.text != want.text || e.conv != "u:"+peer:
			c.report("%s: sequence %d is not what was sent (cid %s)", user, e.seq, e.cid)
		case times[e.cid] == 2:
			c.report("%s: cid %s stands more than once", user, e.cid)
		}
	}
}

// checkAcks: an acknowledged message stands in both logs under one id, at the
// acknowledged sequence in the sender's, and a repeated ack says the same.
func (c *checker) checkAcks() {
	index := map[string]map[string]seen{}
	for user, log := range c.reference {
		index[user] = map[string]seen{}
		for _, e := range log {
			index[user][e.cid] = e
		}
	}
	firsts := map[string]acked{}
	for _, a := range c.h.acks {
		if first, ok := firsts[a.cid]; ok {
			if first.seq != a.seq || first.mid != a.mid {
				c.report("cid %s: acked as sequence %d, then as %d", a.cid, first.seq, a.seq)
			}
			continue
		}
		firsts[a.cid] = a
		to := c.h.sent[a.cid].to
		own, ok := index[a.from][a.cid]
		if !ok {
			c.report("%s: acked cid %s is lost from the sender's log", a.from, a.cid)
		} else if own.seq != a.seq || own.mid != a.mid {
			c.report("%s: cid %s acked as sequence %d stands at %d", a.from, a.cid, a.seq, own.seq)
		}
		theirs, ok := index[to][a.cid]
		if !ok {
			c.report("%s: acked cid %s of %s is lost from the recipient's log", to, a.cid, a.from)
		} else if theirs.mid != a.mid {
			c.report("%s: cid %s has another message id than at the sender", to, a.cid)
		}
	}
}

// checkSenderOrder: a recipient's log keeps the order of each sender's log (G2).
func (c *checker) checkSenderOrder() {
	for _, to := range sortedKeys(c.reference) {
		next := map[string]int{} // sender → position in the sender's log
		for _, e := range c.reference[to] {
			if e.from == to {
				continue
			}
			log, found := c.reference[e.from], false
			for i := next[e.from]; i < len(log) && !found; i++ {
				if found = log[i].mid == e.mid; found {
					next[e.from] = i + 1
				}
			}
			if !found {
				c.report("%s: sequence %d from %s is out of the sender's order", to, e.seq, e.from)
				break
			}
		}
	}
}

// goodHistory is a small run in which nothing went wrong: alice and bob with
// two devices each, three messages, one retried.
func goodHistory() *history {
	h := &history{sent: map[string]sent{}}
	logs := map[string][]seen{}
	add := func(n byte, cid, from, to string) {
		h.sent[cid] = sent{from, to, "text " + cid}
		mid := godwit.MessageID{n}
		for user, peer := range map[string]string{from: to, to: from} {
			e := seen{seq: godwit.Seq(len(logs[user]) + 1), mid: mid, conv: "u:" + peer, from: from, cid: cid, time: int64(n), text: "text " + cid}
			e.canonical = fmt.Appendf(nil, "%v", e)
			logs[user] = append(logs[user], e)
			if user == from {
				h.acks = append(h.acks, acked{from, cid, e.seq, mid, false})
			}
		}
	}
	add(1, "c1", "alice", "bob")
	add(2, "c2", "bob", "alice")
	add(3, "c3", "alice", "bob")
	retried := h.acks[0]
	retried.dup = true
	h.acks = append(h.acks, retried)
	for _, user := range []string{"alice", "bob"} {
		for _, device := range []string{"phone", "web"} {
			h.logs = append(h.logs, deviceLog{user, device, append([]seen(nil), logs[user]...)})
		}
	}
	return h
}

func TestCheckerAcceptsAGoodHistory(t *testing.T) {
	if broken := goodHistory().check(); len(broken) != 0 {
		t.Fatalf("a good history was refused: %q", broken)
	}
}

func TestCheckerCatchesEveryPlantedFault(t *testing.T) {
	both := func(h *history, user int, change func(log []seen) []seen) {
		for d := range 2 {
			log := &h.logs[2*user+d]
			log.entries = change(log.entries)
			for i := range log.entries {
				log.entries[i].seq = godwit.Seq(i + 1)
				log.entries[i].canonical = fmt.Appendf(nil, "%v %v", log.entries[i].seq, log.entries[i].mid)
			}
		}
	}
	faults := map[string]func(h *history){
		"entry lost on one device":       func(h *history) { h.logs[1].entries = h.logs[1].entries[:2] },
		"gap on one device":              func(h *history) { h.logs[0].entries[1].seq = 3 },
		"repetition on one device":       func(h *history) { h.logs[0].entries[1] = h.logs[0].entries[0] },
		"one byte differs on one device": func(h *history) { h.logs[3].entries[0].canonical = []byte("other") },
		"time goes back":                 func(h *history) { h.logs[0].entries[2].time = 0 },
		"acked and lost at the recipient": func(h *history) {
			both(h, 1, func(log []seen) []seen { return log[:2] })
		},
		"acked and lost at the sender": func(h *history) {
			both(h, 0, func(log []seen) []seen { return log[:2] })
		},
		"stored twice": func(h *history) {
			both(h, 1, func(log []seen) []seen { return append(log, log[2]) })
		},
		"never sent": func(h *history) {
			both(h, 0, func(log []seen) []seen { return append(log, seen{cid: "c9", time: 9}) })
		},
		"body changed": func(h *history) {
			both(h, 0, func(log []seen) []seen { log[0].text += "!"; return log })
		},
		"sender's order broken at the recipient": func(h *history) {
			both(h, 1, func(log []seen) []seen {
				log[0], log[2] = log[2], log[0]
				log[0].time, log[2].time = 1, 3
				return log
			})
		},
		"another sequence on retry": func(h *history) { h.acks[3].seq++ },
		"another message id":        func(h *history) { h.acks[0].mid[0]++ },
	}
	for _, name := range sortedKeys(faults) {
		h := goodHistory()
		faults[name](h)
		if broken := h.check(); len(broken) == 0 {
			t.Errorf("not caught: %s", name)
		}
	}
}
