package auth

import (
	"bytes"

	"github.com/godwit-im/godwit"
)

// Redeemer takes tickets: Tickets of this process, or what asks another one's.
type Redeemer interface {
	Redeem(ticket string) (who godwit.Identity, err error)
}

// Verifier takes what clients show: tickets by their prefix, and tokens.
type Verifier struct {
	Keyring *Keyring
	Tickets Redeemer // nil: no ticket is believed
}

// Verify returns whom the token or ticket speaks for and until when. It may wait as Keyring.Verify does, and as Redeem does.
func (v *Verifier) Verify(token []byte) (who godwit.Identity, err error) {
	if !bytes.HasPrefix(token, []byte(TicketPrefix)) {
		return v.Keyring.Verify(token)
	}
	if _, ok := parseTicket(string(token)); !ok || v.Tickets == nil {
		return godwit.Identity{}, ErrTicket
	}
	return v.Tickets.Redeem(string(token))
}
