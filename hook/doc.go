// Package hook asks an operator's HTTP service about each message before it is
// stored, and about each edit. It knows requests, answers and time budgets; it does not know what a
// message means, who waits for the verdict, or in which order messages come.
package hook
