package wal

import (
	"errors"
	"fmt"
)

// Open recovers the log in cfg.Dir, or makes an empty one. It calls replay for
// each record in order, with the sequence of the file it lies in, then cuts a torn tail, so that what it replayed is
// durable and what it did not will never come back.
//
// On ErrCorrupt, ErrVersion or an error of replay it has changed nothing but
// removed unfinished files; what replay got must then be dropped.
func Open(cfg Config, replay func(file uint64, r Record) error) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	sequences, err := listFiles(&cfg)
	if err != nil {
		return nil, err
	}
	if err := syncDir(cfg.FS, cfg.Dir); err != nil { // a killed process may have left that out
		return nil, err
	}
	r := &recovery{cfg: &cfg, replay: replay, used: -1, oldest: 1}
	if err := r.survey(sequences); err != nil {
		return nil, err
	}
	if err := r.replayFiles(); err != nil {
		return nil, err
	}
	if err := r.checkClaims(); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg}
	l.spare.init(&l.cfg)
	if err := l.resume(r); err != nil {
		return nil, errors.Join(err, l.spare.close(), l.closeCurrent())
	}
	return l, nil
}

// resume opens the file the next frame goes to, and its spare.
func (l *Log) resume(r *recovery) error {
	l.oldest, l.oldestClaimed = r.oldest, r.oldest
	for _, f := range r.files[:max(r.used, 0)] {
		l.live = append(l.live, releasedFile{sequence: f.sequence, sizeBytes: f.sizeBytes})
	}
	var err error
	switch {
	case len(r.files) == 0:
		l.current, err = createFile(&l.cfg, 1, l.cfg.FirstFileBytes, nil, nil)
		if err == nil {
			l.setCurrent(l.current, l.current.blockBytes, 0)
		}
	case r.mustMove():
		err = l.moveTail(r)
	default:
		err = l.continueFile(r)
	}
	if err != nil {
		return err
	}
	if err := l.adoptSpare(r); err != nil {
		return err
	}
	l.forgetUpTo = l.newest() // nobody remembers what a Forget said about them
	l.dropReleased()          // their release is durable, but a crash came in between
	l.countFiles()
	return nil
}

// continueFile goes on behind the last valid frame: all frames with records are
// known to be durable, and so is the last release. Trailers at the end may not
// be; they say nothing new, so they are written again in place.
func (l *Log) continueFile(r *recovery) error {
	i := max(r.used, 0)
	h := r.files[i].fileHeader
	var err error
	if l.current, err = openFile(&l.cfg, h); err != nil {
		return err
	}
	src := source{h, l.current.file}
	for _, p := range r.uncovered {
		frame, _, _, err := r.readFrame(src, p.off)
		if err != nil {
			return err
		}
		trailer := make([]byte, h.blockBytes)
		putFrameHeader(trailer, frame)
		if err := l.current.writeAt(trailer, p.off); err != nil {
			return err
		}
	}
	if len(r.uncovered) > 0 {
		if err := l.current.sync(l.current.file.SyncData); err != nil {
			return err
		}
	}
	l.setCurrent(l.current, max(r.endOff, h.blockBytes), r.files[i].firstLSN)
	l.last.Store(r.expected - 1)
	l.synced.Store(r.expected - 1)
	l.lastVital, l.claimed, l.covered = r.lastVital, r.covered, r.covered
	return nil
}

// adoptSpare opens the unused file after the current one, or has one made.
func (l *Log) adoptSpare(r *recovery) error {
	for _, f := range r.files {
		if f.sequence == l.current.sequence+1 {
			next, err := openFile(&l.cfg, f.fileHeader)
			if err != nil {
				return err
			}
			l.spare.ready = next
			return nil
		}
	}
	l.spare.start(l.current)
	return nil
}

func (l *Log) closeCurrent() error {
	if l.current == nil {
		return nil
	}
	if err := l.current.file.Close(); err != nil {
		return fmt.Errorf("wal: close %s: %w", l.current.name, err)
	}
	return nil
}
