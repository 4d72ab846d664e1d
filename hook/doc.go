// Package hook asks an operator's HTTP service about each message before it is
// stored. It knows requests, answers and time budgets; it does not know what a
// message means, who waits for the verdict, or in which order messages come.
package hook
