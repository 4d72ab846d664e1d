package link

import (
	"context"
	"encoding/binary"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/godwit-im/godwit"
)

// Ticket calls: issue is (user, expires, issued) → (seconds, ticket); redeem is ticket
// → (user, expires, issued). A ticket that is not valid is refused with PermissionDenied.

func (h *Hub) issueTicket(ctx context.Context, request []byte) ([]byte, error) {
	if err := h.ticketsFor(ctx); err != nil {
		return nil, err
	}
	f := fields{rest: request}
	who, ok := f.identity()
	if !ok {
		return nil, status.Error(codes.InvalidArgument, errItem.Error())
	}
	ticket, seconds, err := h.cfg.Tickets.Issue(who)
	if err != nil {
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	return append(binary.AppendUvarint(nil, uint64(seconds)), ticket...), nil
}

func (h *Hub) redeemTicket(ctx context.Context, request []byte) ([]byte, error) {
	if err := h.ticketsFor(ctx); err != nil {
		return nil, err
	}
	who, err := h.cfg.Tickets.Redeem(string(request))
	if err != nil {
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	return appendIdentity(nil, who), nil
}

func (h *Hub) ticketsFor(ctx context.Context) error {
	if h.cfg.Tickets == nil {
		return status.Error(codes.Unimplemented, "link: this engine process has no tickets")
	}
	if err := h.authorized(ctx); err != nil {
		return h.refuse(ctx, "", err)
	}
	if _, err := h.identified(ctx, ""); err != nil { // PermissionDenied would be the ticket's
		return h.refuse(ctx, "", status.Error(codes.Unauthenticated, err.Error()))
	}
	return nil
}

// Issue has the engine process issue a ticket. It waits for the answer.
func (c *Client) Issue(who godwit.Identity) (ticket string, seconds int, err error) {
	answer, err := c.call(issueMethod, appendIdentity(nil, who))
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
func (c *Client) Redeem(ticket string) (who godwit.Identity, err error) {
	answer, err := c.call(redeemMethod, []byte(ticket))
	if err != nil {
		return godwit.Identity{}, err
	}
	f := fields{rest: answer}
	who, ok := f.identity()
	if !ok {
		return godwit.Identity{}, errItem
	}
	return who, nil
}

func appendIdentity(dst []byte, who godwit.Identity) []byte {
	dst = binary.AppendUvarint(appendText(dst, who.User), uint64(who.Expires))
	return binary.AppendUvarint(dst, uint64(who.Issued))
}

func (f *fields) identity() (who godwit.Identity, ok bool) {
	who = godwit.Identity{User: godwit.UserID(f.text()), Expires: int64(f.uint()), Issued: int64(f.uint())}
	return who, !f.bad && godwit.ValidID(who.User)
}

// call makes one unary call; it fails at once while the engine process is away.
func (c *Client) call(method string, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(c.outgoing(c.life), c.cfg.callTimeout)
	defer cancel()
	conn := c.conn.Load()
	if conn == nil {
		return nil, godwit.ErrUnavailable
	}
	var answer message
	if err := conn.Invoke(ctx, method, newMessage(request), &answer); err != nil {
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
