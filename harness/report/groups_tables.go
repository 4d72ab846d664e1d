package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/godwit-im/godwit/harness/groups"
)

// slopeWanted is how far from flat the cost of a delivery may be, as a share: over
// groups of 10 to 10,000 members, the median of 5 rounds.
const (
	slopeWanted      = 0.15
	slopeWantedTo    = 10_000
	slopeWantedFrom  = 10
	slopeWantedTimes = 5
)

// groupsSection is the newest measurement as the page shows it.
type groupsSection struct {
	Path     string // "": none is valid
	Result   *groups.Result
	Older    int
	Invalid  []groupsInvalid
	Messages *table
	Slopes   *table
	Lines    []string // the slope, in words
	Commit   string
	Machine  string
	Cautions []string
}

type groupsInvalid struct{ Path, Started, Why string }

// groupsOf prepares the newest valid result; nil if there is no result at all.
func groupsOf(inputs []GroupsInput) *groupsSection {
	if len(inputs) == 0 {
		return nil
	}
	section := &groupsSection{}
	newest, older, invalid := newestGroups(inputs)
	for _, in := range invalid {
		lost, repeated := 0, 0
		for _, c := range groupCells(in.Result) {
			lost, repeated = lost+c.Lost, repeated+c.Repeated
		}
		section.Invalid = append(section.Invalid, groupsInvalid{
			Path: in.Path, Started: in.Result.Started,
			Why: fmt.Sprintf("%s deliveries lost, %s repeated", integer(lost), integer(repeated)),
		})
	}
	if newest == nil {
		return section
	}
	r := newest.Result
	section.Path, section.Result, section.Older = newest.Path, r, older
	section.Messages, section.Slopes = groupMessages(r), groupSlopes(r)
	section.Lines = []string{slopeLine(r, 0), slopeLine(r, slopeLeast)}
	section.Commit = cmp.Or(r.Commit, "unknown")
	section.Machine = text(r.CPU) + ", " + positive(r.CPUs) + " cores"
	caution := func(is bool, what string) {
		if is {
			section.Cautions = append(section.Cautions, what)
		}
	}
	first, last := r.Groups[0].Members, r.Groups[len(r.Groups)-1].Members
	caution(strings.HasSuffix(r.Commit, "-dirty"), "the source had uncommitted changes")
	caution(section.Commit == "unknown", "the commit was not recorded")
	caution(first != slopeWantedFrom || last != slopeWantedTo, fmt.Sprintf("the target is about groups of %s to %s members; these have %s to %s", integer(slopeWantedFrom), integer(slopeWantedTo), positive(first), positive(last)))
	caution(r.Rounds != slopeWantedTimes, fmt.Sprintf("the target is about the median of %d rounds; these are %s", slopeWantedTimes, positive(r.Rounds)))
	return section
}

func groupMessages(r *groups.Result) *table {
	t := &table{Caption: "What a message costs by the size of its group", Head: []string{
		"Members", "Online", "Messages", "Entries per message", "Bytes per member and message", "CPU per delivery", "at a pace", "CPU per message", "p50", "p99", "Deliveries/s",
	}}
	bytes := func(v float64) string { return significant(v) + " B" }
	for i, c := range groupCells(r) {
		name := positive(c.Members)
		if i == len(r.Groups) {
			name += ", a channel"
		}
		t.Rows = append(t.Rows, []string{
			name, positive(c.Online), positive(c.Messages), recorded(c.Entries, significant), recorded(c.Bytes, bytes),
			recorded(c.CPU, micros), recorded(c.PacedCPU, micros), recorded(c.CPUPerMessage, micros), recorded(c.P50*1e3, micros), recorded(c.P99*1e3, micros), recorded(c.PerSecond, significant),
		})
	}
	return t
}

// groupSlopes holds every size to the target, against each of the two bases.
func groupSlopes(r *groups.Result) *table {
	small, hundred := slopeBase(r, 0), slopeBase(r, slopeLeast)
	t := &table{Caption: "Cost of a delivery against smaller groups", Head: []string{"Members", "Rounds", "CPU per delivery", "Least and most of a round"}}
	for _, base := range []*groups.Cell{small, hundred} {
		name := absent
		if base != nil {
			name = positive(base.Members)
		}
		t.Head = append(t.Head, "Against "+name, "Verdict")
	}
	for i := range r.Groups {
		c := &r.Groups[i]
		row := []string{
			positive(c.Members), integer(len(c.CPUPerDelivery)), recorded(c.CPU, micros),
			recorded(slices.Min(c.CPUPerDelivery), micros) + " – " + recorded(slices.Max(c.CPUPerDelivery), micros),
		}
		for _, base := range []*groups.Cell{small, hundred} {
			if base == nil || c.Members <= base.Members || c.CPU <= 0 {
				row = append(row, absent, absent)
				continue
			}
			share := c.CPU/base.CPU - 1
			row = append(row, signedShare(share), flatWord(share))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// flatWord judges a slope: what is cheaper than flat misses the target too.
func flatWord(share float64) string {
	if share >= -slopeWanted && share <= slopeWanted {
		return "HIT"
	}
	return "MISS"
}

// slopeLine says of the two ends what the table says of every size.
func slopeLine(r *groups.Result, least int) string {
	base, last := slopeBase(r, least), &r.Groups[len(r.Groups)-1]
	if base == nil || last.Members <= base.Members || last.CPU <= 0 {
		return fmt.Sprintf("There is no larger group to compare with one of at least %d members", max(least, slopeWantedFrom))
	}
	share := last.CPU/base.CPU - 1
	return fmt.Sprintf("From %s to %s members the cost of a delivery changes by %s; wanted is ±%s: %s",
		integer(base.Members), integer(last.Members), signedShare(share), percent(slopeWanted), flatWord(share))
}

func signedShare(share float64) string {
	if !plausible(max(share, -share)) {
		return absent
	}
	if share < 0 {
		return "-" + percent(-share)
	}
	return "+" + percent(share)
}
