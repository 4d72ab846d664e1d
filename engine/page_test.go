package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/godwit-im/godwit"
)

// modelLog is a log as a plain list.
type modelLog []Entry

// page cuts the model the slow way: filter, then take from one end.
func (m modelLog) page(want func(Entry) bool, forward bool, limit, bytesMax int) (out []Entry, more bool) {
	var all []Entry
	for _, e := range m {
		if want(e) {
			all = append(all, e)
		}
	}
	if !forward {
		slices.Reverse(all)
	}
	total := 0
	for i, e := range all {
		total += len(e.Body) + len(e.Meta)
		if i > 0 && (i >= limit || total > bytesMax) {
			more = true
			break
		}
		out = append(out, e)
	}
	if !forward {
		slices.Reverse(out)
	}
	return out, more
}

// newest is the last sequence of a conversation, 0 if it has none.
func (m modelLog) newest(conv uint32) godwit.Seq {
	for _, e := range slices.Backward(m) {
		if e.Conv == conv {
			return e.Seq
		}
	}
	return 0
}

func sameEntries(a, b []Entry) bool {
	return slices.EqualFunc(a, b, func(x, y Entry) bool {
		return x.Seq == y.Seq && x.Conv == y.Conv && x.Prev == y.Prev && x.Time == y.Time && bytes.Equal(x.Meta, y.Meta) && bytes.Equal(x.Body, y.Body)
	})
}

// TestPagesAndRowsMatchAModel drives a store and maps with the same steps,
// restarts included.
//
//tidy:long one table of steps
func TestPagesAndRowsMatchAModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		const logs = 3
		groups := rapid.SampledFrom([]int{1, 8}).Draw(r, "groups")
		cfg := testConfig(t, vfs.NewMem(), groups)
		s := mustOpen(t, cfg, newAppender(groups))
		defer func() { mustClose(t, s) }()
		model := make([]modelLog, logs)
		pickLog := rapid.IntRange(0, logs-1)
		seqs := rapid.Custom(func(r *rapid.T) godwit.Seq {
			return godwit.Seq(rapid.OneOf(rapid.Uint64Range(0, 50), rapid.Uint64()).Draw(r, "seq"))
		})
		limits := rapid.IntRange(-1, 12)
		sizes := rapid.IntRange(-1, 200)
		dst := []Entry{{Seq: 99}}
		r.Repeat(map[string]func(*rapid.T){
			"append": func(r *rapid.T) {
				n, conv := pickLog.Draw(r, "log"), rapid.Uint32Range(1, 3).Draw(r, "conv")
				body := strings.Repeat("b", rapid.IntRange(0, 40).Draw(r, "size"))
				seq := propose(t, s, logOf(n), conv, body)
				model[n] = append(model[n], Entry{Seq: seq, Prev: model[n].newest(conv), Conv: conv, Time: 1000, Meta: []byte{byte(len(model[n]) + 1)}, Body: []byte(body)})
				if int(seq) != len(model[n]) {
					r.Fatalf("sequence %d, want %d", seq, len(model[n]))
				}
			},
			"since": func(r *rapid.T) {
				n, after := pickLog.Draw(r, "log"), seqs.Draw(r, "after")
				limit, bytesMax := limits.Draw(r, "limit"), sizes.Draw(r, "bytes")
				want, _ := model[n].page(func(e Entry) bool { return e.Seq > after }, true, limit, bytesMax)
				v := s.View(s.Group(logOf(n).Partition()))
				got := v.Since(logOf(n), after, limit, bytesMax, dst)
				v.Close()
				if got[0].Seq != 99 || !sameEntries(got[1:], want) {
					r.Fatalf("got %v, want %v", got[1:], want)
				}
			},
			"conversation": func(r *rapid.T) {
				n, conv := pickLog.Draw(r, "log"), rapid.Uint32Range(0, 4).Draw(r, "conv")
				p := Page{
					Newest: model[n].newest(conv),
					Before: seqs.Draw(r, "before"), After: seqs.Draw(r, "after"), Forward: rapid.Bool().Draw(r, "forward"),
					Limit: limits.Draw(r, "limit"), BytesMax: sizes.Draw(r, "bytes"),
				}
				want, wantMore := model[n].page(func(e Entry) bool {
					if p.Forward {
						return e.Conv == conv && e.Seq > p.After
					}
					return e.Conv == conv && (p.Before == 0 || e.Seq < p.Before)
				}, p.Forward, p.Limit, p.BytesMax)
				v := s.View(s.Group(logOf(n).Partition()))
				got, more := v.Conversation(logOf(n), conv, p, dst)
				v.Close()
				if more != wantMore || !sameEntries(got[1:], want) {
					r.Fatalf("page %+v: got %v, %v, want %v, %v", p, got[1:], more, want, wantMore)
				}
			},
			"entry": func(r *rapid.T) {
				n, seq := pickLog.Draw(r, "log"), seqs.Draw(r, "seq")
				v := s.View(s.Group(logOf(n).Partition()))
				defer v.Close()
				e, ok := v.Entry(logOf(n), seq)
				if wantOK := seq > 0 && seq <= godwit.Seq(len(model[n])); ok != wantOK || ok && !sameEntries([]Entry{e}, model[n][seq-1:seq]) {
					r.Fatalf("entry %d: %v, %v", seq, e, ok)
				}
				if v.Head(logOf(n)) != godwit.Seq(len(model[n])) {
					r.Fatalf("head %d", v.Head(logOf(n)))
				}
			},
			"checkpoint": func(r *rapid.T) {
				if err := s.checkpointGroup(s.groups[rapid.IntRange(0, groups-1).Draw(r, "group")]); err != nil {
					r.Fatal(err)
				}
			},
			"reopen": func(r *rapid.T) {
				before := digest(t, s, 0)
				mustClose(t, s)
				s = mustOpen(t, cfg, newAppender(groups))
				if digest(t, s, 0) != before {
					r.Fatal("the digest changed over a restart")
				}
			},
		})
	})
}

func TestPageAllocatesNothing(t *testing.T) {
	s := mustOpen(t, testConfig(t, vfs.NewMem(), 1), newAppender(1))
	defer mustClose(t, s)
	for i := range 100 {
		propose(t, s, logOf(0), uint32(i%2+1), fmt.Sprint("body ", i))
	}
	v := s.View(0)
	defer v.Close()
	dst := make([]Entry, 0, 50)
	if n := testing.AllocsPerRun(100, func() {
		a := v.Since(logOf(0), 30, 50, 1<<20, dst)
		b, more := v.Conversation(logOf(0), 1, Page{Newest: 99, Before: 70, Limit: 20, BytesMax: 1 << 20}, dst)
		if len(a) != 50 || len(b) != 20 || !more {
			t.Fatalf("pages of %d and %d, more %v", len(a), len(b), more)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
