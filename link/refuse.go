package link

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"io"
	"net"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit/link/identity"
)

// authorized refuses a stream or a call without the secret.
func (h *Hub) authorized(ctx context.Context) error {
	if len(h.cfg.Secret) == 0 {
		return nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	given := md.Get(secretKey)
	if len(given) != 1 || subtle.ConstantTimeCompare([]byte(given[0]), h.cfg.Secret) != 1 {
		return status.Error(codes.Unauthenticated, "link: the secret is missing or wrong; both sides need the same link.secret_file")
	}
	return nil
}

// identified refuses a stream or a call of whoever has no certificate of an edge
// process of this cluster; an empty name stands for any. It returns the name in the
// certificate.
func (h *Hub) identified(ctx context.Context, name string) (tlsName string, err error) {
	leaf := leafOf(ctx)
	if leaf == nil {
		return "", nil // no TLS, as the transport saw fit
	}
	want := identity.Identity{Cluster: h.cfg.TLS.Cluster, Role: identity.Edge, Name: name}
	if err := identity.Verify(leaf, want); err != nil {
		h.untrusted.Add(1)
		return "", status.Error(codes.PermissionDenied, "link: the edge process's certificate: "+err.Error())
	}
	return want.String(), nil
}

// leafOf is the certificate that the peer of a stream or a call showed, or nil.
func leafOf(ctx context.Context) *x509.Certificate {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(shown); ok {
			return info.leaf
		}
	}
	return nil
}

// addressOf is where the peer of a stream or a call is; empty: a socket file.
func addressOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil && p.Addr.Network() != "unix" {
		return p.Addr.String()
	}
	return ""
}

// handshakeFailed hears of each connection that came to nothing.
func (h *Hub) handshakeFailed(peer net.Addr, err error) {
	if errors.Is(err, io.EOF) { // somebody only looked whether the port is open
		return
	}
	h.untrusted.Add(1)
	h.say("an edge process was refused", "address", peer.String(), "err", err)
}

// refuse counts and logs a stream that is not served.
func (h *Hub) refuse(ctx context.Context, node string, err error) error {
	h.refused.Add(1)
	h.say("an edge process was refused", "edge", node, "address", addressOf(ctx), "err", err)
	return err
}

const sayEveryMS = 1000

// say logs what anybody who reaches the port may cause: one line a second, with the
// number of those that were left out.
func (h *Hub) say(message string, args ...any) {
	now, last := h.cfg.Clock(), h.saidMS.Load()
	if now-last < sayEveryMS || !h.saidMS.CompareAndSwap(last, now) {
		h.unsaid.Add(1)
		return
	}
	if n := h.unsaid.Swap(0); n > 0 {
		args = append(args, "unsaid", n)
	}
	h.cfg.Logger.Warn(message, args...)
}
