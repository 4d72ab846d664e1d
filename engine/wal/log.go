package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync/atomic"
	"syscall"
)

// bufferKeepBytes: a frame buffer that grew beyond it is given back after use.
const bufferKeepBytes = 4 << 20

// Log is an open write-ahead log. See the package comment for who may call what.
type Log struct {
	cfg Config

	current *logFile
	off     int64  // where the next frame goes; a multiple of the block size
	firstIn uint64 // LSN of the first frame in current, 0 while it has none
	spare   spare

	live          []releasedFile // the files from the oldest to the current
	oldest        uint64         // the oldest file of the log
	oldestClaimed uint64         // the largest oldestFile written
	forgetUpTo    uint64         // files up to this one must not be recycled

	lastVital uint64 // LSN of the last frame with records or a raised oldestFile
	claimed   uint64 // the largest syncedUpTo written
	covered   uint64 // the largest syncedUpTo written and synced

	buf    []byte // the frame being encoded; reused
	failed error  // the first write or fsync error; final
	closed bool

	// Written by the owner only, read by anyone.
	last, synced         atomic.Uint64
	bytes, frames, syncs atomic.Uint64
	files, oldestFile    atomic.Uint64
	liveBytes            atomic.Int64
}

// Stats counts since Open. It is for metrics: the fields are not of one instant.
type Stats struct {
	Bytes  uint64 // written in frames, padding included, pre-writing not
	Frames uint64
	Syncs  uint64 // fdatasyncs of frames
	Files  uint64 // files of the log now, the spare included

	OldestFile uint64 // sequence of the oldest file of the log
	LiveBytes  int64  // of the files from the oldest to the current
	PoolBytes  int64  // of released files that wait to be used again
	Recycled   uint64 // files made of released ones
}

// Append encodes the records into one frame and writes it. It is not durable
// before Sync. The records are not kept. ErrTooLarge and ErrNoSpace have no
// effect; any other error is final. No records: nothing is written.
func (l *Log) Append(records []Record) error {
	if err := l.usable(); err != nil || len(records) == 0 {
		return err
	}
	payload := int64(0)
	for i := range records {
		payload += recordHeaderBytes + int64(len(records[i].Payload))
	}
	if payload > l.cfg.FrameBytesMax {
		return fmt.Errorf("%w: %d records take %d bytes, at most %d fit; append fewer at once",
			ErrTooLarge, len(records), payload, l.cfg.FrameBytesMax)
	}
	if err := l.makeRoom(payload); err != nil {
		return l.fail(err)
	}
	frame := slices.Grow(l.buf[:0], int(frameBytes(payload, l.current.blockBytes)))[:frameHeaderBytes]
	for i := range records {
		frame = appendRecord(frame, &records[i])
	}
	l.buf = frame
	if err := l.writeFrame(uint32(len(records))); err != nil {
		return l.fail(err)
	}
	if cap(l.buf) > bufferKeepBytes {
		l.buf = nil
	}
	l.lastVital = l.last.Load()
	return nil
}

// Sync makes every appended frame durable. An error is final: a second fsync
// would report success for data that is gone.
func (l *Log) Sync() error {
	if err := l.usable(); err != nil {
		return err
	}
	return l.fail(l.syncCurrent())
}

// Idle makes what was appended durable and, unless a later frame already says
// so, says so in a trailer frame: from then on a flipped bit in the last records
// or the last release is corruption and no torn tail. Call it when nothing is queued.
func (l *Log) Idle() error {
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.syncCurrent(); err != nil {
		return l.fail(err)
	}
	if l.covered >= l.lastVital {
		return nil
	}
	if err := l.makeRoom(0); err != nil {
		return l.fail(err)
	}
	if l.claimed < l.lastVital { // a seal may have said it meanwhile
		if err := l.writeTrailer(); err != nil {
			return l.fail(err)
		}
	}
	return l.fail(l.syncCurrent())
}

// Close covers the last records as Idle does, ends the work in the background
// and closes the files. It returns the final error of a failed log. A second call does nothing.
func (l *Log) Close() error {
	if l.closed {
		return nil
	}
	err := l.Idle()
	if errors.Is(err, ErrNoSpace) {
		err = nil // all is durable, only no frame says so
	}
	l.closed = true
	if spareErr := l.spare.close(); spareErr != nil && err == nil {
		err = spareErr
	}
	if closeErr := l.current.file.Close(); closeErr != nil && err == nil {
		err = fmt.Errorf("wal: close %s: %w", l.current.name, closeErr)
	}
	return err
}

// LSN returns the number of the last frame written, in this run or before.
func (l *Log) LSN() uint64 { return l.last.Load() }

// SyncedLSN returns the number of the last frame known to be durable.
func (l *Log) SyncedLSN() uint64 { return l.synced.Load() }

// Stats returns the counters.
func (l *Log) Stats() Stats {
	return Stats{
		Bytes: l.bytes.Load(), Frames: l.frames.Load(), Syncs: l.syncs.Load(), Files: l.files.Load(),
		OldestFile: l.oldestFile.Load(), LiveBytes: l.liveBytes.Load(),
		PoolBytes: l.spare.poolBytes.Load(), Recycled: l.spare.recycled.Load(),
	}
}

func (l *Log) usable() error {
	if l.failed != nil {
		return l.failed
	}
	if l.closed {
		return ErrClosed
	}
	return nil
}

// fail keeps the first error for every later call, unless it had no effect.
func (l *Log) fail(err error) error {
	if err != nil && l.failed == nil && !errors.Is(err, ErrNoSpace) {
		l.failed = err
	}
	return err
}

// makeRoom goes on to the next file if a frame of this payload does not fit. One
// block stays free in every file for the seal.
func (l *Log) makeRoom(payload int64) error {
	if l.spare.changed.Load() {
		if err := l.spare.poll(); err != nil {
			return err
		}
		l.countFiles()
	}
	if l.off+frameBytes(payload, l.current.blockBytes)+l.current.blockBytes <= l.current.sizeBytes {
		return nil
	}
	return l.switchFile(payload)
}

// switchFile makes the spare the current file.
func (l *Log) switchFile(payload int64) error {
	next, err := l.spare.take(l.current, payload)
	if err != nil {
		return noSpace(err)
	}
	return l.goOnIn(next)
}

// noSpace tells a file that could not be made for lack of room, where nothing
// was lost, from what is final.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrSyncFailed) {
		return fmt.Errorf("%w: %w", ErrNoSpace, syscall.ENOSPC)
	}
	return err
}

// goOnIn seals the current file and makes the durable, unused file next the
// current one. When it returns, every frame of the old file is durable: recovery
// relies on it.
func (l *Log) goOnIn(next *logFile) error {
	l.spare.ready = next             // it exists: the seal says so
	if l.off < l.current.sizeBytes { // else the seal of the run before is the last frame
		if err := l.writeTrailer(); err != nil {
			return err
		}
	}
	if err := l.syncCurrent(); err != nil {
		return err
	}
	if err := l.current.file.Close(); err != nil {
		return fmt.Errorf("%w: close %s: %w", ErrWriteFailed, l.current.name, err)
	}
	l.setCurrent(next, next.blockBytes, 0)
	l.spare.ready = nil
	l.spare.start(next)
	l.countFiles()
	return nil
}

func (l *Log) setCurrent(f *logFile, off int64, firstIn uint64) {
	l.current, l.off, l.firstIn = f, off, firstIn
	l.live = append(l.live, releasedFile{sequence: f.sequence, sizeBytes: f.sizeBytes})
}

func (l *Log) writeTrailer() error {
	l.buf = slices.Grow(l.buf[:0], int(l.current.blockBytes))[:frameHeaderBytes]
	return l.writeFrame(0)
}

// writeFrame completes the frame in buf (room for the header, then the payload)
// and writes it. The second frame of a file waits until the first is durable:
// recovery takes a file whose first frame is bad for unused.
func (l *Log) writeFrame(records uint32) error {
	if l.firstIn != 0 && l.synced.Load() < l.firstIn {
		if err := l.syncCurrent(); err != nil {
			return err
		}
	}
	payload := l.buf[frameHeaderBytes:]
	h := frameHeader{
		payloadCRC:   crc32.Checksum(payload, castagnoli),
		payloadBytes: uint32(len(payload)),
		records:      records,
		lsn:          l.last.Load() + 1,
		fileID:       l.current.id,
		syncedUpTo:   l.synced.Load(),
		oldestFile:   l.oldest,
		newestFile:   l.newest(),
	}
	n := len(l.buf)
	l.buf = slices.Grow(l.buf, int(frameBytes(int64(len(payload)), l.current.blockBytes))-n)
	l.buf = l.buf[:frameBytes(int64(len(payload)), l.current.blockBytes)]
	clear(l.buf[n:])
	putFrameHeader(l.buf, h)
	if err := l.current.writeAt(l.buf, l.off); err != nil {
		return err
	}
	l.off += int64(len(l.buf))
	l.claimed = h.syncedUpTo
	if l.firstIn == 0 {
		l.firstIn = h.lsn
	}
	if h.oldestFile > l.oldestClaimed {
		l.oldestClaimed, l.lastVital = h.oldestFile, h.lsn
	}
	l.last.Store(h.lsn)
	l.frames.Add(1)
	l.bytes.Add(uint64(len(l.buf)))
	return nil
}

// syncCurrent syncs the current file if a frame in it is not durable yet; older
// files always are.
func (l *Log) syncCurrent() error {
	if l.synced.Load() == l.last.Load() {
		return nil
	}
	l.syncs.Add(1)
	if err := l.current.sync(l.current.file.SyncData); err != nil {
		return err
	}
	l.synced.Store(l.last.Load())
	l.covered = l.claimed
	return nil
}

// newest is the sequence of the last file known to exist durably.
func (l *Log) newest() uint64 {
	if l.spare.ready != nil {
		return l.spare.ready.sequence
	}
	return l.current.sequence
}

func (l *Log) countFiles() {
	l.files.Store(l.newest() - l.oldest + 1)
	l.oldestFile.Store(l.oldest)
	sum := int64(0)
	for _, f := range l.live {
		sum += f.sizeBytes
	}
	l.liveBytes.Store(sum)
}
