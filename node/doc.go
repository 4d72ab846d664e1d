// Package node runs one Godwit process: it reads the configuration, joins the
// tiers that never import one another (edge, chat, engine, router, auth),
// offers the ops endpoint, and takes everything down in an order in which
// nothing that was acknowledged is lost.
//
// It decides nothing about messages, frames or bytes on disk: those are the
// tiers' own business. An adapter here is a line or two.
package node
