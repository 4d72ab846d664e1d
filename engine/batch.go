package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A batch is the payload of one raft entry: the commands of one group that
// queued while the disk was busy.
//
//	version  u8       batchVersion
//	life     u64 LE   random number of the proposing process's Open
//	number   u64 LE   counts the batches of that life and group from 1
//	stamp    i64 LE   the proposer's clock, ms since the Unix epoch
//	count    u32 LE   commands, at least 1
//	commands          each uvarint length, then its bytes
//
// It carries no checksum: the WAL frame around it does.
const (
	batchVersion     = 1
	batchHeaderBytes = 1 + 8 + 8 + 8 + 4
	// commandOverhead is what a queued command costs beside its bytes: the
	// Waiter; it also bounds the number of empty commands.
	commandOverhead = 16
)

// errBatch: a committed raft entry is not a batch this version can read. The
// WAL's checksum held, so a newer version or a bug wrote it. Skipping it would
// make replicas differ, so the store refuses to open, or stops the node.
var errBatch = errors.New("engine: raft entry is not a batch this version can read")

// openBatch collects commands until it is proposed, then keeps their waiters
// until its entry is applied. Guarded by proposals.mu.
type openBatch struct {
	buf       []byte // header, then commands; its memory belongs to the openBatch
	waiters   []Waiter
	number    uint64
	costBytes int64 // what it holds of Config.QueueBytesMax
}

func (b *openBatch) reset(number uint64) {
	b.buf = append(b.buf[:0], make([]byte, batchHeaderBytes)...)
	b.number, b.costBytes = number, 0
}

// add copies command.
func (b *openBatch) add(command []byte, w Waiter) {
	b.buf = binary.AppendUvarint(b.buf, uint64(len(command)))
	b.buf = append(b.buf, command...)
	b.waiters = append(b.waiters, w)
}

// seal writes the header and returns the whole batch, which aliases b.
func (b *openBatch) seal(life uint64, stamp int64) []byte {
	h := b.buf[:batchHeaderBytes]
	h[0] = batchVersion
	binary.LittleEndian.PutUint64(h[1:], life)
	binary.LittleEndian.PutUint64(h[9:], b.number)
	binary.LittleEndian.PutUint64(h[17:], uint64(stamp))
	binary.LittleEndian.PutUint32(h[25:], uint32(len(b.waiters)))
	return b.buf
}

// batch is a parsed raft entry. commands aliases the entry.
type batch struct {
	life     uint64
	number   uint64
	stamp    int64
	count    int
	commands []byte
}

// parseBatch checks data to the last byte, so that a batch is applied whole or
// not at all.
func parseBatch(data []byte) (batch, error) {
	if len(data) < batchHeaderBytes {
		return batch{}, fmt.Errorf("%w: %d bytes", errBatch, len(data))
	}
	if data[0] != batchVersion {
		return batch{}, fmt.Errorf("%w: version %d, want %d", errBatch, data[0], batchVersion)
	}
	b := batch{
		life:     binary.LittleEndian.Uint64(data[1:]),
		number:   binary.LittleEndian.Uint64(data[9:]),
		stamp:    int64(binary.LittleEndian.Uint64(data[17:])),
		count:    int(binary.LittleEndian.Uint32(data[25:])),
		commands: data[batchHeaderBytes:],
	}
	rest, found := b.commands, 0
	for len(rest) > 0 {
		var ok bool
		if _, rest, ok = cutCommand(rest); !ok {
			return batch{}, fmt.Errorf("%w: command %d of %d is cut short", errBatch, found+1, b.count)
		}
		found++
	}
	if found != b.count || found == 0 {
		return batch{}, fmt.Errorf("%w: %d commands, header says %d", errBatch, found, b.count)
	}
	return b, nil
}

// cutCommand splits the first command off src. Both results alias src.
func cutCommand(src []byte) (command, rest []byte, ok bool) {
	size, n := binary.Uvarint(src)
	if n <= 0 || size > uint64(len(src)-n) {
		return nil, nil, false
	}
	end := n + int(size)
	return src[n:end:end], src[end:], true
}
