package auth

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// Redeemer takes tickets: Tickets of this process, or what asks another one's.
type Redeemer interface {
	Redeem(ticket string) (user godwit.UserID, tokenExpires int64, err error)
}

// Verifier takes what clients show: tickets by their prefix, and tokens.
type Verifier struct {
	Keyring *Keyring
	Tickets Redeemer // nil: no ticket is believed
}

// Verify returns whom the token or ticket speaks for and until when (ms since
// the Unix epoch). It may wait as Keyring.Verify does, and as Redeem does.
func (v *Verifier) Verify(token []byte) (user godwit.UserID, expires int64, err error) {
	if !bytes.HasPrefix(token, []byte(TicketPrefix)) {
		return v.Keyring.Verify(token)
	}
	if _, ok := parseTicket(string(token)); !ok || v.Tickets == nil {
		return "", 0, ErrTicket
	}
	return v.Tickets.Redeem(string(token))
}
