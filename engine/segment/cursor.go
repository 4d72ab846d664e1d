package segment

import "github.com/godwit-im/godwit"

// Cursor remembers the run decoded last, so that its neighbours cost no search.
// The zero value is ready, for any Reader; one goroutine. It keeps one block alive.
type Cursor struct {
	r      *Reader
	i      int // the block in raw
	raw    []byte
	walker walker
	piece  piece // decoded into places, if some
	some   bool
	places []place
	record godwit.Record // what Ascend lends
}

// Reset forgets the block, and keeps the memory for decoding.
func (c *Cursor) Reset() {
	c.r, c.raw, c.some, c.record = nil, nil, false, godwit.Record{}
}

// seek makes log's piece in block i the cursor's; false if there is none.
func (r *Reader) seek(c *Cursor, log godwit.LogID, i int) (bool, error) {
	if c.r == r && c.i == i && c.raw != nil {
		if c.some && c.piece.log == log {
			return true, nil
		}
	} else {
		c.Reset()
		raw, err := r.block(i)
		if err != nil {
			return false, err
		}
		c.r, c.i, c.raw = r, i, raw
	}
	c.some = false
	w := &c.walker
	if err := w.start(c.raw); err != nil {
		return false, r.wrap(r.index.offset(i), err)
	}
	for {
		ok, err := w.next()
		if err == nil && ok && w.piece.log < log {
			err = w.skip()
			if err == nil {
				continue
			}
		}
		if err == nil && ok && w.piece.log == log {
			if c.places, err = w.places(c.places); err == nil {
				c.piece, c.some = w.piece, true
				return true, nil
			}
		}
		if err != nil {
			return false, r.wrap(r.index.offset(i), err)
		}
		return false, nil
	}
}

// locate finds the block that holds (log, seq), or else the last before it that
// may hold smaller sequences of log.
func (r *Reader) locate(log godwit.LogID, seq godwit.Seq) int {
	i := r.index.find(log, seq)
	// The block before a run that begins with its block holds nothing of it.
	if j := i + 1; (i < 0 || r.index.log(i) != log) && j < r.index.len() && r.index.log(j) == log && !r.index.continued(j) {
		return j
	}
	return i
}

// Run tells where the entries of log begin and end, and the generation of the next
// older segment with more (0: none). ok is false if the segment does not know the
// log. first and last are 0 if its entries were all dropped; older still counts.
func (r *Reader) Run(c *Cursor, log godwit.LogID) (first, last godwit.Seq, older uint32, ok bool, err error) {
	if !r.MayContain(log) {
		return 0, 0, 0, false, nil
	}
	i := r.index.find(log, seqMax)
	if i < 0 {
		return 0, 0, 0, false, nil
	}
	if ok, err = r.seek(c, log, i); err != nil || !ok {
		return 0, 0, 0, false, err
	}
	return c.piece.runFirst, c.piece.last, c.piece.older, true, nil
}

// Entry returns one entry. It aliases a decompressed block, immutable, for as
// long as anybody refers to it.
func (r *Reader) Entry(c *Cursor, log godwit.LogID, seq godwit.Seq) (godwit.Record, bool, error) {
	if !c.covers(r, log, seq) {
		if seq == 0 || seq > seqMax || !r.MayContain(log) {
			return godwit.Record{}, false, nil
		}
		i := r.index.find(log, seq)
		if i < 0 {
			return godwit.Record{}, false, nil
		}
		if ok, err := r.seek(c, log, i); err != nil || !ok {
			return godwit.Record{}, false, err
		}
	}
	if at := c.at(seq); at < len(c.places) && c.places[at].seq == seq {
		return c.places[at].record(c.raw), true, nil
	}
	return godwit.Record{}, false, nil
}

// covers says that seq, if it exists, lies in the decoded piece.
func (c *Cursor) covers(r *Reader, log godwit.LogID, seq godwit.Seq) bool {
	return c.some && c.r == r && c.piece.log == log && seq >= c.piece.first && seq <= c.piece.last && seq > 0
}

// at returns the place of the first record not before seq.
func (c *Cursor) at(seq godwit.Seq) int {
	if seq <= c.piece.first {
		return 0
	}
	if c.piece.flags&flagHoles == 0 {
		return int(min(seq-c.piece.first, godwit.Seq(len(c.places))))
	}
	low, high := 0, len(c.places)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if c.places[mid].seq < seq {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// Ascend calls fn with the entries of log from a sequence on, ascending, until it
// returns false. The Record is lent for the call; its Meta and Body are as Entry's.
func (r *Reader) Ascend(c *Cursor, log godwit.LogID, from godwit.Seq, fn func(*godwit.Record) bool) error {
	if from > seqMax || !r.MayContain(log) {
		return nil
	}
	for i := max(0, r.locate(log, from)); i < r.index.len() && r.index.log(i) <= log; i++ {
		ok, err := r.seek(c, log, i)
		if err != nil {
			return err
		}
		if !ok {
			continue // the run begins with a later block, or nowhere
		}
		for at := c.at(from); at < len(c.places); at++ {
			c.record = c.places[at].record(c.raw)
			if !fn(&c.record) {
				return nil
			}
		}
	}
	return nil
}
