package chat

// What readers of a group look at; the View is of the raft group of its partition.

// groupRowOf reads a group's row. ok is false for one that does not exist or is
// dissolved: nobody may tell them apart.
func groupRowOf(v View, group []byte) (g groupRow, ok bool) {
	row, have := v.Get(appendGroupKey(nil, group))
	return g, have && g.parse(row) && g.flags&groupDissolved == 0
}

// memberOf reads what a group knows of a user; ok is false if he never was a
// member. Whether he is one now, and what he may see, the row tells.
func memberOf(v View, group, user []byte) (m memberRow, ok bool) {
	row, have := v.Get(appendMemberKey(nil, group, user))
	return m, have && m.parse(row)
}

// eachMember calls fn with the entries of a group's buckets from bucket number
// from on, those of former members whose logs may lack entries included (left is
// set), until it returns false. The entries alias rows: they die with the View.
func eachMember(v View, group []byte, from uint64, fn func(bucketEntry) bool) {
	var g groupRow // a dissolved one, too: the logs of the last to leave may lack entries
	row, have := v.Get(appendGroupKey(nil, group))
	if !have || !g.parse(row) {
		return
	}
	for n := from; n < g.buckets; n++ {
		if !eachOfBucket(v, group, n, fn) {
			return
		}
	}
}

func eachOfBucket(v View, group []byte, n uint64, fn func(bucketEntry) bool) (more bool) {
	row, _ := v.Get(appendBucketKey(nil, group, uint32(n)))
	for r := (reader{b: row}); ; {
		e, ok := nextBucketEntry(&r)
		if !ok {
			return true
		}
		if !fn(e) {
			return false
		}
	}
}
