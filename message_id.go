package godwit

import (
	"encoding/base64"
	"errors"
)

// messageIDChars is the length of a MessageID in text.
const messageIDChars = 22

// ErrBadMessageID refuses text that is not a message id this server wrote.
var ErrBadMessageID = errors.New("message id must be 22 characters of base64url")

// Strict: one id has one text, so the four spare bits must be zero.
var messageIDEncoding = base64.RawURLEncoding.Strict()

// AppendTo appends the id's text, 22 characters of unpadded base64url.
func (id MessageID) AppendTo(dst []byte) []byte { return messageIDEncoding.AppendEncode(dst, id[:]) }

// String returns the id's text.
func (id MessageID) String() string { return string(id.AppendTo(nil)) }

// ParseMessageID reads the text that String returns.
func ParseMessageID[T ~string | ~[]byte](text T) (id MessageID, err error) {
	if len(text) != messageIDChars {
		return MessageID{}, ErrBadMessageID
	}
	// The decoder skips newlines; such text yields fewer than 16 bytes.
	var src [messageIDChars]byte
	copy(src[:], text)
	if n, err := messageIDEncoding.Decode(id[:], src[:]); err != nil || n != len(id) {
		return MessageID{}, ErrBadMessageID
	}
	return id, nil
}
