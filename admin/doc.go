// Package admin is the operators' API: HTTP and JSON on the ops address, below
// /v1/admin, described by openapi.yaml. Who may use it has a key, and each key has
// scopes. What is done in a user's name passes through chat like a client's own
// request, so it obeys the same rules and is as durable.
//
// It refuses to know how chat does it: Chat says what it needs. docs/admin.md is
// the page for operators.
package admin
