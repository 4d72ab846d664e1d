// Package routertest is the suite that every store of a directory passes, and the
// directory over it: isolation, leases, routes, locks, maps. Weak makes a store as
// unfriendly as its contract allows.
//
// It knows no store; whoever calls Run opens one.
package routertest
