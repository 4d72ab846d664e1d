package segment

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// encoders keeps idle zstd encoders by Config.Level: they are single-threaded
// and hold about a megabyte. The garbage collector takes those nobody needs.
var encoders [4]sync.Pool

// decoder is shared by all readers: it has no state between calls, decodes as
// many blocks at once as there are cores, and starts no goroutine.
var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(blockRawMax), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("BUG: zstd refuses the decoder's options: " + err.Error())
	}
	return d
})

func takeEncoder(level int) *zstd.Encoder {
	if e, ok := encoders[level].Get().(*zstd.Encoder); ok {
		return e
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true), zstd.WithWindowSize(blockBytesMax), zstd.WithEncoderLevel(zstd.EncoderLevel(level)))
	if err != nil {
		panic("BUG: zstd refuses the encoder's options: " + err.Error())
	}
	return e
}

func giveEncoder(level int, e *zstd.Encoder) { encoders[level].Put(e) }

// sealBlock appends a block as it lies on disk at offset: checksum, codec, length
// before compression, payload. The first bodiesAt bytes are numbers and become a
// zstd frame of their own: with one table for both, texts would suffer by 5 %.
func sealBlock(dst []byte, origin uint64, offset int64, raw []byte, bodiesAt int, e *zstd.Encoder) []byte {
	from := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(CodecNone))
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	payload := len(dst)
	if e != nil {
		dst[from+4] = byte(CodecZstd)
		dst = e.EncodeAll(raw[bodiesAt:], e.EncodeAll(raw[:bodiesAt], dst))
	}
	if e == nil || len(dst)-payload >= len(raw) {
		dst[from+4] = byte(CodecNone)
		dst = append(dst[:payload], raw...)
	}
	binary.LittleEndian.PutUint32(dst[from:], sum(origin, offset, dst[from+4:]))
	return dst
}

// openBlock checks a block and decompresses it. into may be reused memory; the
// result lies in it or is new, and never aliases src. rawMax bounds what is allocated.
func openBlock(into, src []byte, origin uint64, offset int64, rawMax uint32) ([]byte, error) {
	if len(src) < 6 || sum(origin, offset, src[4:]) != binary.LittleEndian.Uint32(src) {
		return nil, errBlock("a block's checksum is wrong")
	}
	n, used := binary.Uvarint(src[5:])
	if used <= 0 || n > uint64(rawMax) {
		return nil, errBlock("a block claims more bytes than any has")
	}
	payload := src[5+used:]
	switch Codec(src[4]) {
	case CodecNone:
		if n != uint64(len(payload)) {
			return nil, errBlock("a block's length is wrong")
		}
		return append(into[:0], payload...), nil
	case CodecZstd:
		return inflate(into, payload, n)
	}
	return nil, fmt.Errorf("%w: block compressed by %v", ErrVersion, Codec(src[4]))
}

// inflate decompresses zstd frames of n bytes together.
func inflate(into, payload []byte, n uint64) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(payload); err != nil || !h.HasFCS || h.FrameContentSize > n {
		return nil, errBlock("a block's compression is of another length")
	}
	// Grow, unlike make, shows in cap what the allocator really gives.
	raw, err := decoder().DecodeAll(payload, slices.Grow(into[:0], int(n)))
	if err != nil || uint64(len(raw)) != n {
		return nil, errBlock("a block does not decompress")
	}
	return raw, nil
}
