// Package local is the store of a directory within one process: an ordered map in
// memory with snapshot isolation and nothing more. What a transaction only reads is
// not guarded, as it is not in the cluster's store: a store that were stricter here
// would hide mistakes that show there.
//
// It keeps nothing on disk, and does not know what the keys mean.
package local
