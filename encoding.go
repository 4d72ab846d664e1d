package godwit

import "encoding/binary"

// Encoding is one of the two forms of godwit.v1 on the wire.
type Encoding uint8

// The encodings. A client that asks for no subprotocol gets JSON.
const (
	EncodingJSON Encoding = iota
	EncodingProto
)

var subprotocols = [...]string{EncodingJSON: "godwit.v1.json", EncodingProto: "godwit.v1.proto"}

// Subprotocol returns the WebSocket subprotocol that chooses the encoding.
func (e Encoding) Subprotocol() string { return subprotocols[e] }

// EncodingOf returns the encoding that a subprotocol token chooses.
func EncodingOf[T ~string | ~[]byte](subprotocol T) (e Encoding, ok bool) {
	for i, name := range subprotocols {
		if string(subprotocol) == name {
			return Encoding(i), true
		}
	}
	return 0, false
}

// Text reports whether messages are WebSocket text messages, else binary.
func (e Encoding) Text() bool { return e == EncodingJSON }

// NextFrame cuts the first frame from a WebSocket message, which may hold
// several: JSON frames joined by newlines (one after the last is allowed),
// Protobuf frames each preceded by its length as a varint. Call it while rest is
// not empty; an empty message holds no frame. frame and rest alias message. The
// error is ErrFrameMalformed, and then nothing more can be read from message.
func NextFrame(enc Encoding, message []byte) (frame, rest []byte, err error) {
	if enc == EncodingJSON {
		for i, c := range message {
			if c == '\n' {
				return message[:i], message[i+1:], nil
			}
		}
		return message, nil, nil
	}
	size, n := binary.Uvarint(message)
	if n <= 0 || size > uint64(len(message)-n) {
		return nil, nil, ErrFrameMalformed
	}
	end := n + int(size)
	return message[n:end], message[end:], nil
}

// AppendFrame adds an encoded frame (from AppendTo or AppendEvent) to a WebSocket
// message. message holds the frames added so far and nothing else; empty at first.
func AppendFrame(message []byte, enc Encoding, frame []byte) []byte {
	if enc == EncodingProto {
		message = binary.AppendUvarint(message, uint64(len(frame)))
	} else if len(message) > 0 {
		message = append(message, '\n')
	}
	return append(message, frame...)
}

// AppendFrameTo encodes the frame right into a message, as AppendFrame does with
// one that is encoded already.
func (f *ClientFrame) AppendFrameTo(message []byte, enc Encoding) []byte {
	message, start := beginFrame(message, enc)
	return endFrame(f.AppendTo(message, enc), enc, start)
}

// AppendFrameTo encodes the frame right into a message, as AppendFrame does with
// one that is encoded already.
func (f *ServerFrame) AppendFrameTo(message []byte, enc Encoding) []byte {
	message, start := beginFrame(message, enc)
	return endFrame(f.AppendTo(message, enc), enc, start)
}

// AppendEventFrame encodes the entry's ev or skip frame right into a message.
func AppendEventFrame(message []byte, enc Encoding, e *Entry) []byte {
	message, start := beginFrame(message, enc)
	return endFrame(AppendEvent(message, enc, e), enc, start)
}

// beginFrame leaves room for the shortest length prefix, which endFrame fills.
func beginFrame(message []byte, enc Encoding) (dst []byte, start int) {
	if enc == EncodingProto || len(message) > 0 {
		message = append(message, '\n')
	}
	return message, len(message)
}

func endFrame(dst []byte, enc Encoding, start int) []byte {
	if enc == EncodingProto {
		return setLength(dst, start)
	}
	return dst
}
