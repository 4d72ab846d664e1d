package wal

import "fmt"

// moveTail cuts the tail by never looking at it again: the frames not known to
// be durable move, their numbers kept, to a fresh file, with a trailer that says
// they are durable. The file gets its name when it is synced, so a crash leaves
// the old state or the new one. From then on recovery reads the file before only
// up to the number the fresh one starts with.
func (l *Log) moveTail(r *recovery) error {
	old, err := r.open(r.files[r.used])
	if err != nil {
		return err
	}
	defer old.file.Close()
	sequence := old.sequence + 1
	if len(r.uncovered) > 0 && r.uncovered[0].off == old.blockBytes {
		sequence = old.sequence // nothing durable stays in the old file: replace it
	}
	if sequence != old.sequence {
		l.live = append(l.live, releasedFile{sequence: old.sequence, sizeBytes: old.sizeBytes})
	}
	sizeBytes, err := movedFileBytes(&l.cfg, r, old)
	if err != nil {
		return err
	}
	l.current, err = createFile(&l.cfg, sequence, sizeBytes, nil, func(f *logFile) error {
		return l.copyTail(r, old, f)
	})
	if err != nil {
		return err
	}
	l.last.Store(r.expected)
	l.synced.Store(r.expected)
	l.lastVital, l.claimed, l.covered = r.lastVital, r.expected-1, r.expected-1
	return nil
}

// copyTail writes the uncovered frames and the trailer to the fresh file f.
func (l *Log) copyTail(r *recovery, old source, f *logFile) error {
	l.setCurrent(f, f.blockBytes, r.expected)
	for i, p := range r.uncovered {
		h, payload, bad, err := r.readFrame(old, p.off)
		if err != nil {
			return err
		}
		if bad != "" || h.lsn != p.lsn {
			return fmt.Errorf("wal: file %s changed while it was read at byte %d", fileName(old.sequence), p.off)
		}
		if i == 0 {
			l.firstIn = h.lsn
		}
		if err := l.copyFrame(f, h, payload); err != nil {
			return err
		}
	}
	return l.copyFrame(f, frameHeader{
		lsn:        r.expected,
		syncedUpTo: r.expected - 1,
		oldestFile: l.oldest,
		newestFile: max(r.newest, f.sequence),
	}, nil)
}

func (l *Log) copyFrame(f *logFile, h frameHeader, payload []byte) error {
	h.fileID = f.id
	frame := make([]byte, frameBytes(int64(len(payload)), f.blockBytes))
	copy(frame[frameHeaderBytes:], payload)
	putFrameHeader(frame, h)
	if err := f.writeAt(frame, l.off); err != nil {
		return err
	}
	l.off += int64(len(frame))
	return nil
}

// movedFileBytes is the size of the fresh file: small, so that a node that
// crashes again and again does not fill the disk, but with room for the frames,
// the trailer and the seal.
func movedFileBytes(c *Config, r *recovery, old source) (int64, error) {
	need := 3 * c.BlockBytes
	for _, p := range r.uncovered {
		h, _, _, err := r.readFrame(old, p.off)
		if err != nil {
			return 0, err
		}
		need += frameBytes(int64(h.payloadBytes), c.BlockBytes)
	}
	return max(c.FirstFileBytes, need), nil
}
