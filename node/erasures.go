package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/chat"
)

// Files of the record of erasures, in the data directory.
const (
	ErasuresFile   = "erasures.jsonl"
	ErasureKeyFile = "erase-signing-key" // PEM, PKCS #8, Ed25519
)

// Erased is one line of the record: what was erased, when and for whom. Previous is
// the SHA-256 of the line before (its bytes without the newline), so that no line
// can be taken out unseen.
type Erased struct {
	Time     string                `json:"time"` // RFC 3339, UTC: when it was done
	What     string                `json:"what"`
	User     godwit.UserID         `json:"user,omitempty"`
	Conv     godwit.ConversationID `json:"conv,omitempty"`
	By       string                `json:"by"`
	Recalled int                   `json:"messages_recalled"`
	Groups   int                   `json:"groups_left"`
	Rows     int                   `json:"rows"`
	Previous string                `json:"previous,omitempty"`
}

// SignedErasure is how a line is written: the signature is over the bytes of Record.
type SignedErasure struct {
	Record    json.RawMessage `json:"record"`
	Signature []byte          `json:"signature"`
}

// erasures erases, and then writes down that it did. What was erased when the
// process died before the line was written is erased again, to no effect, by
// whoever asks again, and is then written down.
type erasures struct {
	chat  *chat.Service
	seen  func(ctx context.Context, user godwit.UserID) error // forgets when a user was last seen
	clock func() time.Time
	key   ed25519.PrivateKey

	mu       sync.Mutex // one line after the other
	file     *os.File
	previous string
}

func openErasures(dir string, service *chat.Service, seen func(context.Context, godwit.UserID) error, clock func() time.Time) (*erasures, error) {
	key, err := erasureKey(filepath.Join(dir, ErasureKeyFile))
	if err != nil {
		return nil, fmt.Errorf("signing key of erasures: %w", err)
	}
	e := &erasures{chat: service, seen: seen, clock: clock, key: key}
	if e.file, err = os.OpenFile(filepath.Join(dir, ErasuresFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := e.findEnd(); err != nil {
		return nil, errors.Join(fmt.Errorf("record of erasures: %w", err), e.file.Close())
	}
	return e, nil
}

// findEnd cuts off a line that was not written whole, and was so never answered.
func (e *erasures) findEnd() error {
	data, err := io.ReadAll(e.file)
	if err != nil {
		return err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	if len(whole) > 0 {
		last := whole[bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1 : len(whole)-1]
		e.previous = hashOf(last)
	}
	if err := e.file.Truncate(int64(len(whole))); err != nil {
		return err
	}
	_, err = e.file.Seek(int64(len(whole)), io.SeekStart)
	return err
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// erasureKey reads the key, or makes it.
func erasureKey(path string) (ed25519.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newErasureKey(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is no Ed25519 key", path)
	}
	return key, nil
}

func newErasureKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return key, os.Rename(path+".tmp", path)
}

// EraseUser implements admin.Eraser.
func (e *erasures) EraseUser(ctx context.Context, user godwit.UserID, by string) (any, error) {
	done, err := e.chat.EraseUser(ctx, user, by)
	if err != nil {
		return nil, err
	}
	if err := e.seen(ctx, user); err != nil {
		return nil, fmt.Errorf("erased, but for when he was last seen; ask again: %w", err)
	}
	return e.write(&done)
}

// EraseConversation implements admin.Eraser.
func (e *erasures) EraseConversation(ctx context.Context, user godwit.UserID, conv godwit.ConversationID, by string) (any, error) {
	done, err := e.chat.EraseConversation(ctx, user, conv, by)
	if err != nil {
		return nil, err
	}
	return e.write(&done)
}

// write signs and stores one line, and returns it as it stands there.
func (e *erasures) write(done *chat.Erasure) (*SignedErasure, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	record, err := json.Marshal(&Erased{
		Time: e.clock().UTC().Format(time.RFC3339Nano), What: done.What, User: done.User, Conv: done.Conv, By: done.By,
		Recalled: done.Recalled, Groups: done.Groups, Rows: done.Rows, Previous: e.previous,
	})
	if err != nil {
		return nil, err
	}
	signed := &SignedErasure{Record: record, Signature: ed25519.Sign(e.key, record)}
	line, err := json.Marshal(signed)
	if err != nil {
		return nil, err
	}
	end, err := e.file.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = e.file.Write(append(line, '\n'))
	}
	if err = errors.Join(err, e.file.Sync()); err != nil {
		_, seek := e.file.Seek(end, io.SeekStart)
		return nil, fmt.Errorf("erased, but not written down; ask again: %w", errors.Join(err, e.file.Truncate(end), seek))
	}
	e.previous = hashOf(line)
	return signed, nil
}

func (e *erasures) close() error { return e.file.Close() }

// CheckErasures reads a record of erasures: every line must be signed by the key
// and follow the one before.
func CheckErasures(record io.Reader, key ed25519.PublicKey) (lines []Erased, err error) {
	data, err := io.ReadAll(record)
	if err != nil {
		return nil, err
	}
	previous := ""
	for n := 1; len(data) > 0; n++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		var s SignedErasure
		var r Erased
		switch {
		case !whole:
			return lines, fmt.Errorf("line %d is not whole", n)
		case json.Unmarshal(line, &s) != nil || json.Unmarshal(s.Record, &r) != nil:
			return lines, fmt.Errorf("line %d is not a record", n)
		case !ed25519.Verify(key, s.Record, s.Signature):
			return lines, fmt.Errorf("line %d is not signed by this key", n)
		case r.Previous != previous:
			return lines, fmt.Errorf("line %d does not follow the one before", n)
		}
		lines, previous, data = append(lines, r), hashOf(line), rest
	}
	return lines, nil
}
