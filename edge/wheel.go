package edge

// wheel is a timing wheel for the sessions of one loop: one timer per slot, set
// and cancelled in O(1), all links small ints. It is pure; ticks are the unit
// of time and come from the caller. A timer may be set further than the wheel
// reaches: it fires early, and the session sets it again.
type wheel struct {
	now   uint32 // the last tick that advance has served
	heads [wheelBuckets]int32
	nodes []wheelNode // indexed by slot
}

// wheelNode links a slot into its bucket; links and bucket are index + 1, so
// that the zero value is a timer not set.
type wheelNode struct{ next, prev, bucket int32 }

const wheelBuckets = 256 // times tickMS: 64 s, further than any ping interval's end

// grow makes room for slots below n.
func (w *wheel) grow(n int) {
	for len(w.nodes) < n {
		w.nodes = append(w.nodes, wheelNode{})
	}
}

// set makes the slot's timer fire at the tick due, or at the next tick if that
// has passed, and replaces what was set before.
func (w *wheel) set(slot uint32, due uint32) {
	w.cancel(slot)
	ahead := int32(due - w.now) // differences survive the wrap-around of ticks
	ahead = min(max(ahead, 1), wheelBuckets-1)
	bucket := int32((w.now + uint32(ahead)) % wheelBuckets)
	node := &w.nodes[slot]
	node.bucket, node.prev, node.next = bucket+1, 0, w.heads[bucket]
	if node.next != 0 {
		w.nodes[node.next-1].prev = int32(slot) + 1
	}
	w.heads[bucket] = int32(slot) + 1
}

// cancel unsets the slot's timer, if it is set.
func (w *wheel) cancel(slot uint32) {
	node := &w.nodes[slot]
	if node.bucket == 0 {
		return
	}
	if node.prev != 0 {
		w.nodes[node.prev-1].next = node.next
	} else {
		w.heads[node.bucket-1] = node.next
	}
	if node.next != 0 {
		w.nodes[node.next-1].prev = node.prev
	}
	*node = wheelNode{}
}

// advance moves to the tick now and appends the slots whose timers fired to
// dst; they are not set any more. After a long pause each bucket is served once.
func (w *wheel) advance(now uint32, dst []uint32) []uint32 {
	steps := int32(now - w.now)
	if steps <= 0 {
		return dst
	}
	first := now - uint32(min(steps, wheelBuckets)) + 1
	for tick := first; ; tick++ {
		for node := w.heads[tick%wheelBuckets]; node != 0; node = w.heads[tick%wheelBuckets] {
			slot := uint32(node - 1)
			w.cancel(slot)
			dst = append(dst, slot)
		}
		if tick == now {
			break
		}
	}
	w.now = now
	return dst
}
