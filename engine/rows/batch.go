package rows

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// batchBytesMax bounds one batch; Pebble panics at 4 GiB.
const batchBytesMax = 2 << 30

// Batch is a change that is made as a whole or not at all. It is for one
// goroutine, and must be closed, committed or not. What is wrong with a change
// is what Commit returns.
type Batch struct {
	db    *DB
	batch *pebble.Batch
	err   error
}

// NewBatch makes an empty batch.
func (db *DB) NewBatch() *Batch {
	if err := db.usable(); err != nil {
		return &Batch{db: db, err: err}
	}
	return &Batch{db: db, batch: db.pebble.NewBatch()}
}

// reserve makes room in a batch that is still empty.
func (b *Batch) reserve(sizeBytes int) {
	if b.err == nil && b.batch.Empty() && sizeBytes <= batchBytesMax {
		_ = b.batch.Close()
		b.batch = b.db.pebble.NewBatchWithSize(sizeBytes)
	}
}

// Put sets a row. Both slices are copied.
func (b *Batch) Put(group uint32, key, value []byte) {
	if !b.fits(groupKeyBytes + len(key) + len(value)) {
		return
	}
	op := b.batch.SetDeferred(groupKeyBytes+len(key), len(value))
	appendRowKey(op.Key[:0], group, key)
	copy(op.Value, value)
	b.err = op.Finish()
}

// Delete removes a row if it exists.
func (b *Batch) Delete(group uint32, key []byte) {
	if !b.fits(groupKeyBytes + len(key)) {
		return
	}
	op := b.batch.DeleteDeferred(groupKeyBytes + len(key))
	appendRowKey(op.Key[:0], group, key)
	b.err = op.Finish()
}

// SetCheckpoint sets the group's checkpoint.
func (b *Batch) SetCheckpoint(group uint32, c Checkpoint) {
	key := appendGroupKey(nil, kindCheckpoint, group)
	b.set(key, c.appendTo(nil, key))
}

// AddSegment adds a segment to the group's manifest, or replaces its meta,
// which is opaque here.
func (b *Batch) AddSegment(group uint32, id uint64, meta []byte) {
	key := appendSegmentKey(nil, group, id)
	b.set(key, appendSegment(nil, key, meta))
}

// RemoveSegment removes a segment from the group's manifest if it is there.
func (b *Batch) RemoveSegment(group uint32, id uint64) {
	if b.fits(segmentKeyBytes) {
		b.err = b.batch.Delete(appendSegmentKey(nil, group, id), nil)
	}
}

// Len returns the bytes of the batch.
func (b *Batch) Len() int {
	if b.batch == nil {
		return 0
	}
	return b.batch.Len()
}

// Commit makes the change and returns when it is durable. After an error the
// batch has no effect (ErrTooLarge, ErrClosed) or it is not known (ErrFailed,
// which Config.Fatal gets too).
func (b *Batch) Commit() error {
	if b.err != nil {
		return fmt.Errorf("commit rows: %w", b.err)
	}
	if err := b.db.usable(); err != nil {
		return fmt.Errorf("commit rows: %w", err)
	}
	err := b.batch.Commit(pebble.Sync)
	if failed := b.db.usable(); failed != nil {
		// Pebble was told that a failed write went well; see gate.
		return fmt.Errorf("commit rows: %w", failed)
	}
	if err != nil {
		return fmt.Errorf("commit rows: %w", err)
	}
	return nil
}

// Close frees the batch. A second Close does nothing.
func (b *Batch) Close() {
	if b.batch != nil {
		_ = b.batch.Close()
		b.batch, b.err = nil, ErrClosed
	}
}

func (b *Batch) set(key, value []byte) {
	if b.fits(len(key) + len(value)) {
		b.err = b.batch.Set(key, value, nil)
	}
}

// fits tells whether n more bytes of key and value may be added.
func (b *Batch) fits(n int) bool {
	if b.err == nil && b.batch.Len()+n+2*binary.MaxVarintLen32+1 > batchBytesMax {
		b.err = ErrTooLarge
	}
	return b.err == nil
}
