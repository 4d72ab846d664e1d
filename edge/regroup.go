package edge

// regroup is what makes a backlog cheap: a flood that goes round all sessions
// has one item for each of them in every portion, so each item would be a write
// of its own. In the order of slots a session's items stand side by side, and a
// portion of them is one write.

// regroupMin is the least number of items that are regrouped: more than one
// portion of a drain.
const regroupMin = 2 * drainItems

// regroupBuckets bounds the counters of regroup; slots share them beyond.
const regroupBuckets = 1 << 16

// regroup puts a session's items side by side and leaves their order among
// themselves, and so an itemFetched's entries behind it. Items of different
// sessions don't depend on one another; those for all sessions do depend on
// their place, and with one of them nothing is moved. spare is the array to fill,
// if it is large enough; the one that is free afterwards is returned.
func (ls *letters) regroup(spare []item) []item {
	if len(ls.items) < regroupMin {
		return spare
	}
	most := uint32(0)
	for i := range ls.items {
		if ls.items[i].session == 0 {
			return spare
		}
		most = max(most, idSlot(ls.items[i].session))
	}
	shift := 0
	for most>>shift >= regroupBuckets {
		shift++
	}
	ends := make([]uint32, most>>shift+1)
	for i := range ls.items {
		ends[idSlot(ls.items[i].session)>>shift]++
	}
	sum := uint32(0)
	for i, n := range ends {
		ends[i] = sum
		sum += n
	}
	if cap(spare) < len(ls.items) {
		spare = make([]item, cap(ls.items))
	}
	spare = spare[:len(ls.items)]
	for i := range ls.items {
		at := &ends[idSlot(ls.items[i].session)>>shift]
		spare[*at] = ls.items[i]
		*at++
	}
	free := ls.items[:0]
	ls.items = spare
	return free
}
