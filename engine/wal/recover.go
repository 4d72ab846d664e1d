package wal

import (
	"errors"
	"fmt"
)

// recovery reads the files of a log, in this order: survey, replayFiles,
// checkClaims. It writes nothing. The rules are docs/formats/wal.md.
type recovery struct {
	cfg    *Config
	replay func(file uint64, r Record) error

	files []fileState
	used  int    // index of the last file with a valid first frame, -1 if there is none
	block []byte // scratch for the first block of a frame
	scan  []byte // scratch for scanTail

	expected  uint64 // the LSN of the next frame
	covered   uint64 // the largest syncedUpTo seen
	lastVital uint64 // the last frame with records or a raised oldestFile
	oldest    uint64 // the largest oldestFile claimed
	newest    uint64 // the largest newestFile claimed
	residue   bool   // frames of this life lie behind the cut

	// Of the last used file only; older files are durable as a whole.
	endOff    int64      // behind its last valid frame
	uncovered []position // its frames above covered
}

type fileState struct {
	fileHeader
	firstLSN uint64 // of the frame in its first place, 0 if there is no valid one
}

type position struct {
	off int64
	lsn uint64
}

// survey checks every file's header and first frame.
func (r *recovery) survey(sequences []uint64) error {
	for i, sequence := range sequences {
		if i > 0 && sequence != sequences[i-1]+1 {
			return corrupt(fileName(sequences[i-1]+1), 0, 0, "the file is missing, but a later one exists")
		}
		state, err := r.surveyFile(sequence)
		if err != nil {
			return err
		}
		if state.firstLSN != 0 {
			r.used = i
		}
		r.files = append(r.files, state)
	}
	for i, f := range r.files {
		if i < r.used && f.firstLSN == 0 {
			return corrupt(fileName(f.sequence), f.blockBytes, 0, "the first frame is bad, but a later file was written")
		}
		if i > r.used {
			if err := r.mustBeUnused(f); err != nil {
				return err
			}
		}
	}
	r.expected = 1
	if len(r.files) > 0 && r.files[0].sequence > 1 {
		if r.expected = r.files[0].firstLSN; r.expected == 0 {
			return corrupt(fileName(r.files[0].sequence), r.files[0].blockBytes, 0,
				fmt.Sprintf("the files before it are gone and it holds no frame; file %s is missing", fileName(1)))
		}
	}
	return nil
}

func (r *recovery) surveyFile(sequence uint64) (state fileState, err error) {
	name := fileName(sequence)
	file, err := r.cfg.FS.Open(r.cfg.FS.PathJoin(r.cfg.Dir, name))
	if err != nil {
		return state, fmt.Errorf("wal: open %s: %w", name, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return state, fmt.Errorf("wal: stat %s: %w", name, err)
	}
	head := make([]byte, fileHeaderBytes)
	if err := readAt(file, name, head[:min(info.Size(), fileHeaderBytes)], 0); err != nil {
		return state, err
	}
	if info.Size() < fileHeaderBytes {
		return state, corrupt(name, 0, 0, "the file is shorter than its header")
	}
	if state.fileHeader, err = parseFileHeader(head); err != nil {
		if errors.Is(err, ErrVersion) {
			return state, fmt.Errorf("wal: file %s: %w", name, err)
		}
		return state, corrupt(name, 0, 0, err.Error())
	}
	if state.sequence != sequence {
		return state, corrupt(name, 0, 0, fmt.Sprintf("its header says it is file %s", fileName(state.sequence)))
	}
	if state.sizeBytes != info.Size() {
		return state, corrupt(name, 0, 0, fmt.Sprintf("it has %d bytes, its header says %d", info.Size(), state.sizeBytes))
	}
	frame, _, bad, err := r.readFrame(source{state.fileHeader, file}, state.blockBytes)
	r.covered = max(r.covered, frame.syncedUpTo) // a torn frame's claims hold, too
	r.newest = max(r.newest, frame.newestFile)
	if err == nil && bad == "" {
		state.firstLSN = frame.lsn
	}
	return state, err
}

// mustBeUnused refuses a file that holds frames but no valid first one. The
// writer syncs a file's first frame before it writes the second.
func (r *recovery) mustBeUnused(f fileState) error {
	src, err := r.open(f)
	if err != nil {
		return err
	}
	defer src.file.Close()
	return r.scanTail(src, 2*f.blockBytes, func(off int64, h frameHeader) error {
		return corrupt(fileName(f.sequence), f.blockBytes, 0,
			fmt.Sprintf("the first frame is bad, but frame %d was written behind it at byte %d", h.lsn, off))
	})
}

// replayFiles replays the frames of all used files and judges the end.
func (r *recovery) replayFiles() error {
	for i := 0; i <= r.used; i++ {
		src, err := r.open(r.files[i])
		if err != nil {
			return err
		}
		if i < r.used {
			err = r.replayUntil(src, r.files[i+1].firstLSN)
		} else {
			err = r.replayLast(src, r.files[i].firstLSN)
		}
		_ = src.file.Close() // only read
		if err != nil {
			return err
		}
	}
	return nil
}

// replayUntil replays a file up to the frame the next file starts with: what
// lies behind it here was cut or moved there. The writer synced all of it
// before it wrote to the next file, so anything bad is corruption.
func (r *recovery) replayUntil(src source, limit uint64) error {
	off := src.blockBytes
	for r.expected < limit {
		size, bad, err := r.next(src, off)
		if err != nil {
			return err
		}
		if bad != "" {
			return corrupt(fileName(src.sequence), off, r.expected, bad+", but a later file was written")
		}
		off += size
	}
	if r.expected > limit {
		return corrupt(fileName(src.sequence+1), src.blockBytes, r.expected, fmt.Sprintf("the file starts with frame %d", limit))
	}
	return nil
}

// replayLast replays the last used file up to the first bad frame. If anything
// behind it says that this frame was synced it is corruption, else the end.
func (r *recovery) replayLast(src source, first uint64) error {
	if r.expected != first {
		return corrupt(fileName(src.sequence), src.blockBytes, r.expected, fmt.Sprintf("the file starts with frame %d", first))
	}
	off := src.blockBytes
	for {
		start := position{off, r.expected}
		size, bad, err := r.next(src, off)
		if err != nil {
			return err
		}
		if bad != "" {
			return r.judgeEnd(src, off, bad)
		}
		off += size
		r.uncovered = append(r.uncovered, start)
		r.dropCovered()
	}
}

// judgeEnd decides between torn tail and corruption.
func (r *recovery) judgeEnd(src source, off int64, bad string) error {
	err := r.scanTail(src, off, func(_ int64, h frameHeader) error {
		r.residue = true
		r.covered = max(r.covered, h.syncedUpTo)
		return nil
	})
	if err != nil {
		return err
	}
	if r.covered >= r.expected {
		return corrupt(fileName(src.sequence), off, r.expected,
			fmt.Sprintf("%s, but a later frame says that all up to %d were synced", bad, r.covered))
	}
	r.dropCovered()
	r.endOff = off
	if r.residue {
		r.cfg.Logger.Warn("wal: torn tail cut", "file", fileName(src.sequence), "byte", off,
			"lsn", r.expected, "syncedUpTo", r.covered, "cause", bad)
	}
	return nil
}

// mustMove: the tail goes to a fresh file if frames of this life lie behind the
// cut, where they could come back, or if its records or its last release are not
// known to be on the disk: after a failed fsync and a restart they may be in the
// page cache only. Written again in place, a power failure could destroy them.
func (r *recovery) mustMove() bool {
	return r.residue || r.lastVital > r.covered
}

func (r *recovery) dropCovered() {
	n := 0
	for n < len(r.uncovered) && r.uncovered[n].lsn <= r.covered {
		n++
	}
	if n == len(r.uncovered) {
		r.uncovered = r.uncovered[:0]
	} else {
		r.uncovered = r.uncovered[n:]
	}
}

// checkClaims compares the files that should exist with those that do.
func (r *recovery) checkClaims() error {
	if len(r.files) == 0 {
		return nil
	}
	if r.used < 0 && r.covered >= r.expected {
		return corrupt(fileName(r.files[0].sequence), r.files[0].blockBytes, r.expected,
			fmt.Sprintf("the file holds no frame, but a later one says that all up to %d were synced", r.covered))
	}
	first, last := r.files[0].sequence, r.files[len(r.files)-1].sequence
	if first > r.oldest {
		return corrupt(fileName(first-1), 0, 0, "the file is missing")
	}
	if used := r.files[max(r.used, 0)].sequence; r.oldest > used {
		return corrupt(fileName(used), 0, 0, fmt.Sprintf("it says that the files before %s were released", fileName(r.oldest)))
	}
	if last < r.newest {
		return corrupt(fileName(last+1), 0, 0, "the file is missing")
	}
	return nil
}

// next reads the expected frame at off and replays its records. bad says why
// there is none.
func (r *recovery) next(src source, off int64) (size int64, bad string, err error) {
	h, payload, bad, err := r.readFrame(src, off)
	if err != nil || bad != "" {
		return 0, bad, err
	}
	if h.lsn != r.expected {
		return 0, fmt.Sprintf("frame %d is in its place", h.lsn), nil
	}
	rest := payload
	for range h.records {
		var record Record
		record, rest, _ = parseRecord(rest) // readFrame checked them
		if err := r.replay(src.sequence, record); err != nil {
			return 0, "", fmt.Errorf("wal: replay frame %d: %w", h.lsn, err)
		}
	}
	r.covered = max(r.covered, h.syncedUpTo)
	r.newest = max(r.newest, h.newestFile)
	if h.records > 0 || h.oldestFile > r.oldest {
		r.lastVital = h.lsn
	}
	r.oldest = max(r.oldest, h.oldestFile)
	r.expected++
	return frameBytes(int64(h.payloadBytes), src.blockBytes), "", nil
}
