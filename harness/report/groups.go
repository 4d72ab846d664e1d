package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/godwit-im/godwit/harness/groups"
)

// groupsFamily begins the formats of `godwit bench groups`.
const groupsFamily = "godwit-bench-groups/"

// GroupsInput is what messages cost by the size of their group, and the place of
// its file as the page links to it.
type GroupsInput struct {
	Path   string
	Result *groups.Result
}

// decodeGroups parses and checks a file's text.
func decodeGroups(content []byte) (*groups.Result, error) {
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, fmt.Errorf("this is no JSON of a measurement of groups: %w", err)
	}
	if head.Format != groups.Format {
		return nil, fmt.Errorf("the file's format is %q, this godwit reads %q only", clean(head.Format, 80), groups.Format)
	}
	r := new(groups.Result)
	if err := json.Unmarshal(content, r); err != nil {
		return nil, fmt.Errorf("this is no result of the format %s: %w", groups.Format, err)
	}
	return r, validateGroups(r)
}

// validateGroups says what can't be true of the file: it was damaged or written
// by hand.
func validateGroups(r *groups.Result) error {
	var problems []error
	complain := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if at, err := time.Parse(time.RFC3339, r.Started); err != nil || at.UTC().Format(time.RFC3339) != r.Started {
		complain("started: %q is no time like 2006-01-02T15:04:05Z", clean(r.Started, 80))
	}
	if r.Commit != "" && !engineCommit.MatchString(r.Commit) {
		complain("commit: %q is no commit", clean(r.Commit, 80))
	}
	if len(r.Groups) == 0 {
		complain("there are no groups: nothing was measured")
	}
	members := 0
	for _, c := range groupCells(r) {
		if c.Members <= members {
			complain("groups: one of %d members comes after one of %d", c.Members, members)
		}
		members = c.Members
		if c.Online <= 0 || c.Online > c.Members {
			complain("group of %d: %d of its members are online", c.Members, c.Online)
		}
		if c.Lost < 0 || c.Repeated < 0 {
			complain("group of %d: %d lost and %d repeated", c.Members, c.Lost, c.Repeated)
		}
		if len(c.CPUPerDelivery) == 0 {
			complain("group of %d: it has no rounds", c.Members)
		} else if !equal(median(c.CPUPerDelivery), c.CPU) {
			complain("group of %d: %g is not the median of its rounds", c.Members, c.CPU)
		}
	}
	if len(problems) == 0 && (!equal(slopeFrom(r, slopeLeast), r.Slope) || !equal(slopeFrom(r, 0), r.SlopeAll)) {
		complain("the slopes %g and %g are not what the groups give", r.Slope, r.SlopeAll)
	}
	return errors.Join(problems...)
}

// equal leaves room for the order of floating-point operations.
func equal(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

// groupCells are all cells of a result, its channel last.
func groupCells(r *groups.Result) []groups.Cell {
	if r.Channel == nil {
		return r.Groups
	}
	return append(slices.Clone(r.Groups), *r.Channel)
}

// slopeLeast is the size from which on a message's own cost is shared by many.
const slopeLeast = 100

// slopeBase is the group with which larger ones are compared: the smallest of at
// least so many members; nil if there is none or it has no figure.
func slopeBase(r *groups.Result, least int) *groups.Cell {
	at := slices.IndexFunc(r.Groups, func(c groups.Cell) bool { return c.Members >= least })
	if at < 0 || r.Groups[at].CPU <= 0 {
		return nil
	}
	return &r.Groups[at]
}

// slopeFrom is how much more a delivery costs in the largest group, as a share.
func slopeFrom(r *groups.Result, least int) float64 {
	base := slopeBase(r, least)
	if base == nil {
		return 0
	}
	return r.Groups[len(r.Groups)-1].CPU/base.CPU - 1
}

// invalidGroups: a run that lost or repeated a delivery is shown without figures.
func invalidGroups(r *groups.Result) bool {
	return slices.ContainsFunc(groupCells(r), func(c groups.Cell) bool { return c.Lost+c.Repeated > 0 })
}

// newestGroups returns the valid result that started last, how many valid ones
// there are besides, and the invalid ones; of one moment the first by its file.
func newestGroups(inputs []GroupsInput) (newest *GroupsInput, older int, invalid []GroupsInput) {
	inputs = slices.SortedFunc(slices.Values(inputs), func(a, b GroupsInput) int {
		return cmp.Or(strings.Compare(b.Result.Started, a.Result.Started), strings.Compare(a.Path, b.Path)) // UTC sorts as text
	})
	for i := range inputs {
		switch {
		case invalidGroups(inputs[i].Result):
			invalid = append(invalid, inputs[i])
		case newest == nil:
			newest = &inputs[i]
		default:
			older++
		}
	}
	return newest, older, invalid
}
