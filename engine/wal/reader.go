package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// scanBytes is the window in which recovery looks for frames behind a bad one.
const scanBytes = 1 << 20

// source is a file of the log being read.
type source struct {
	fileHeader
	file vfs.File
}

func (r *recovery) open(f fileState) (source, error) {
	name := fileName(f.sequence)
	file, err := r.cfg.FS.Open(r.cfg.FS.PathJoin(r.cfg.Dir, name))
	if err != nil {
		return source{}, fmt.Errorf("wal: open %s: %w", name, err)
	}
	return source{f.fileHeader, file}, nil
}

// readFrame reads the frame at off. bad says in words why there is none; then h
// is filled if the header at least is whole and of this file's life. The
// payload is a fresh buffer of at most what the file still holds.
func (r *recovery) readFrame(src source, off int64) (h frameHeader, payload []byte, bad string, err error) {
	if off+src.blockBytes > src.sizeBytes {
		return h, nil, "the file ends", nil
	}
	if int64(len(r.block)) < src.blockBytes {
		r.block = make([]byte, src.blockBytes)
	}
	block := r.block[:src.blockBytes]
	name := fileName(src.sequence)
	if err := readAt(src.file, name, block, off); err != nil {
		return h, nil, "", err
	}
	h, ok := parseFrameHeader(block)
	switch {
	case !ok:
		return h, nil, "there is no frame, or its header is damaged", nil
	case h.fileID != src.id:
		return frameHeader{}, nil, "there is a frame of the file's former life", nil
	case int64(h.payloadBytes) > min(frameBytesLimit, src.sizeBytes-off-frameHeaderBytes):
		return h, nil, "the frame is longer than its file", nil
	}
	payload = make([]byte, h.payloadBytes)
	n := copy(payload, block[frameHeaderBytes:])
	if err := readAt(src.file, name, payload[n:], off+src.blockBytes); err != nil {
		return h, nil, "", err
	}
	if crc32.Checksum(payload, castagnoli) != h.payloadCRC {
		return h, nil, "the frame's checksum is wrong", nil
	}
	if !wholeRecords(payload, h.records) {
		return h, nil, "the frame's records do not add up to its length", nil
	}
	return h, payload, "", nil
}

func wholeRecords(payload []byte, records uint32) bool {
	for range records {
		var ok bool
		if _, payload, ok = parseRecord(payload); !ok {
			return false
		}
	}
	return len(payload) == 0
}

// scanTail calls found for every whole frame header of this file's life at or
// behind off. A header inside a payload is no danger: nobody who writes a
// payload knows the file's id.
func (r *recovery) scanTail(src source, off int64, found func(off int64, h frameHeader) error) error {
	if n := min(scanBytes, src.sizeBytes-off); n > int64(len(r.scan)) {
		r.scan = make([]byte, n)
	}
	for off < src.sizeBytes {
		window := r.scan[:min(int64(len(r.scan)), src.sizeBytes-off)]
		if err := readAt(src.file, fileName(src.sequence), window, off); err != nil {
			return err
		}
		for i := int64(0); i < int64(len(window)); i += src.blockBytes {
			if h, ok := parseFrameHeader(window[i:]); ok && h.fileID == src.id {
				if err := found(off+i, h); err != nil {
					return err
				}
			}
		}
		off += int64(len(window))
	}
	return nil
}

// readAt fills p or fails; a file of the right size that ends early is an I/O error.
func readAt(file io.ReaderAt, name string, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n, err := file.ReadAt(p, off)
	if n == len(p) || err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("wal: read %s at byte %d: %w", name, off, err)
}
