// Package auth decides whose token a client holds: JSON Web Tokens signed with
// EdDSA, ES256, RS256 or HS256, each key pinned to its algorithm, the keys from
// a file, from a JWKS address that is read again in the background, or both. It
// issues and redeems tickets, which stand in for a token where none may be
// written (the address of a WebSocket), and keeps the development key, with
// which a local server mints tokens for itself.
//
// It knows nothing of connections, sessions or rights: a token proves a user id
// until a moment, and what that user may do is the chat tier's business.
//
// Key sets are parsed and fetched with the standard library. The module that
// the JWT library's authors point to, jwkset, reads an answer of any size,
// drops the whole set for one key it can't read, takes private keys, searches
// under a lock and can't be waited for; it is the tests' oracle instead.
package auth
