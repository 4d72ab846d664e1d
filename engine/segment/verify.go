package segment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"
)

// Verify reads every byte at a bounded rate (0: as fast as it goes) and compares
// the SHA-256, footer included. It is the scrub: past the cache, in large reads.
func (r *Reader) Verify(ctx context.Context, bytesPerSecond int64) error {
	h := sha256.New()
	end := r.meta.SizeBytes - footerBytes
	w := r.window(end)
	started := time.Now()
	for offset := int64(0); offset < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := w.at(offset, int(min(readBytes, end-offset)))
		if err != nil {
			return err
		}
		h.Write(b)
		offset += int64(len(b))
		if bytesPerSecond > 0 {
			due := started.Add(time.Duration(float64(offset) / float64(bytesPerSecond) * float64(time.Second)))
			if err := sleepUntil(ctx, due); err != nil {
				return err
			}
		}
	}
	var b [footerBytes]byte
	if err := readAt(r.file, r.path, b[:], end); err != nil {
		return err
	}
	if !bytes.Equal(b[:], r.foot.appendTo(nil)) {
		return r.corrupt(end, "the footer is not the one it was opened with")
	}
	if [32]byte(h.Sum(nil)) != r.meta.SHA256 {
		return r.blame()
	}
	return nil
}

// blame says which part makes the SHA-256 wrong.
func (r *Reader) blame() error {
	s := r.Scan()
	for s.NextRun() {
	}
	if s.Err() != nil {
		return s.Err()
	}
	again, err := open(r.fs, r.path, r.meta, nil)
	if err != nil {
		return err
	}
	if err := again.Release(); err != nil {
		return err
	}
	return r.corrupt(0, "the SHA-256 is wrong though every checksum is right")
}

func sleepUntil(ctx context.Context, due time.Time) error {
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
