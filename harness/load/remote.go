package load

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// An agent on another host and its coordinator prove to each other that they
// know the same secret before anything else is said: each sends a nonce, and
// an HMAC-SHA256 over its role and both nonces. What follows is in the clear,
// tokens included: use a private network or a tunnel.

// ErrSecret marks a peer that does not know the secret.
var ErrSecret = errors.New("the other side does not know the secret")

// SecretBytesMin is the least length of a secret.
const SecretBytesMin = 16

const (
	nonceBytes       = 32
	greetingPatience = 10 * time.Second
)

type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }

// greet exchanges nonces and proofs.
func greet(conn net.Conn, secret []byte, role, peer string) (io.ReadWriteCloser, error) {
	if len(secret) < SecretBytesMin {
		return nil, fmt.Errorf("the secret has %d bytes, at least %d are needed", len(secret), SecretBytesMin)
	}
	if err := conn.SetDeadline(time.Now().Add(greetingPatience)); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	mine, theirs, proof := make([]byte, nonceBytes), make([]byte, nonceBytes), make([]byte, sha256.Size)
	_, _ = rand.Read(mine)
	if _, err := conn.Write(mine); err != nil {
		return nil, fmt.Errorf("greet: %w", err)
	}
	if _, err := io.ReadFull(reader, theirs); err != nil {
		return nil, fmt.Errorf("greet: %w", err)
	}
	if _, err := conn.Write(prove(secret, role, mine, theirs)); err != nil {
		return nil, fmt.Errorf("greet: %w", err)
	}
	if _, err := io.ReadFull(reader, proof); err != nil {
		return nil, fmt.Errorf("greet: %w", err)
	}
	if !hmac.Equal(proof, prove(secret, peer, theirs, mine)) {
		return nil, ErrSecret
	}
	return &buffered{conn, reader}, conn.SetDeadline(time.Time{})
}

func prove(secret []byte, role string, own, other []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write([]byte("godwit-bench/v1 " + role + "\n"))
	_, _ = mac.Write(own)
	_, _ = mac.Write(other)
	return mac.Sum(nil)
}

// DialAgent connects to an agent that listens.
func DialAgent(ctx context.Context, address string, secret []byte) (io.ReadWriteCloser, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	rw, err := greet(conn, secret, "coordinator", "agent")
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("agent %s: %w", address, err)
	}
	return rw, nil
}

// ListenAgent serves coordinators on the listener, one after another, until ctx
// ends.
func ListenAgent(ctx context.Context, listener net.Listener, secret []byte, log func(string)) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		rw, err := greet(conn, secret, "agent", "coordinator")
		if err != nil {
			log(fmt.Sprintf("refused %s: %v", conn.RemoteAddr(), err))
			_ = conn.Close()
			continue
		}
		hangUp := context.AfterFunc(ctx, func() { _ = conn.Close() })
		err = ServeAgent(rw)
		hangUp()
		_ = conn.Close()
		if err != nil {
			return err
		}
	}
}
