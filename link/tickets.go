package link

import (
	"context"
	"encoding/binary"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit"
)

// Ticket calls: issue is (user, expires) → (seconds, ticket); redeem is ticket → (user,
// expires). A ticket that is not valid is refused with PermissionDenied.

func (h *Hub) issueTicket(ctx context.Context, request []byte) ([]byte, error) {
	if err := h.ticketsFor(ctx); err != nil {
		return nil, err
	}
	f := fields{rest: request}
	user, expires := godwit.UserID(f.text()), int64(f.uint())
	if f.bad || !godwit.ValidID(user) {
		return nil, status.Error(codes.InvalidArgument, errItem.Error())
	}
	ticket, seconds, err := h.cfg.Tickets.Issue(user, expires)
	if err != nil {
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	return append(binary.AppendUvarint(nil, uint64(seconds)), ticket...), nil
}

func (h *Hub) redeemTicket(ctx context.Context, request []byte) ([]byte, error) {
	if err := h.ticketsFor(ctx); err != nil {
		return nil, err
	}
	user, expires, err := h.cfg.Tickets.Redeem(string(request))
	if err != nil {
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	return binary.AppendUvarint(appendText(nil, user), uint64(expires)), nil
}

func (h *Hub) ticketsFor(ctx context.Context) error {
	if h.cfg.Tickets == nil {
		return status.Error(codes.Unimplemented, "link: this engine process has no tickets")
	}
	return h.authorized(ctx)
}

// Issue has the engine process issue a ticket. It waits for the answer.
func (c *Client) Issue(user godwit.UserID, tokenExpires int64) (ticket string, seconds int, err error) {
	answer, err := c.call(issueMethod, binary.AppendUvarint(appendText(nil, user), uint64(tokenExpires)))
	if err != nil {
		return "", 0, err
	}
	f := fields{rest: answer}
	if seconds = int(f.uint()); f.bad {
		return "", 0, errItem
	}
	return string(f.rest), seconds, nil
}

// Redeem has the engine process redeem a ticket, which it does once. It waits for
// the answer.
func (c *Client) Redeem(ticket string) (user godwit.UserID, tokenExpires int64, err error) {
	answer, err := c.call(redeemMethod, []byte(ticket))
	if err != nil {
		return "", 0, err
	}
	f := fields{rest: answer}
	user, tokenExpires = godwit.UserID(f.text()), int64(f.uint())
	if f.bad || !godwit.ValidID(user) {
		return "", 0, errItem
	}
	return user, tokenExpires, nil
}

// call makes one unary call; it fails at once while the engine process is away.
func (c *Client) call(method string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.outgoing(c.life), callTimeout)
	defer cancel()
	var answer message
	if err := c.conn.Invoke(ctx, method, newMessage(request), &answer); err != nil {
		switch status.Code(err) {
		case codes.PermissionDenied:
			return nil, fmt.Errorf("%w: %w", godwit.ErrUnauthorized, err)
		case codes.ResourceExhausted:
			return nil, fmt.Errorf("%w: %w", godwit.ErrRateLimited, err)
		}
		return nil, fmt.Errorf("%w: %w", godwit.ErrUnavailable, err)
	}
	defer answer.free()
	return append([]byte(nil), answer.bytes()...), nil
}
