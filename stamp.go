package godwit

import "strconv"

// A stamp tells the connections of one device apart: the larger one is the newer.
// It is a timestamp of the cluster's directory, or made so that it is larger than
// the last one that the client was told. 0: none was given, and the one that
// arrives later is the newer. On the wire to clients it is a text of digits, since
// it exceeds what a browser takes for a number, and opaque.

// StampBytesMax is the length of the longest stamp.
const StampBytesMax = 20

// FormatStamp returns how clients see a stamp, empty for none.
func FormatStamp(stamp uint64) string {
	if stamp == 0 {
		return ""
	}
	return strconv.FormatUint(stamp, 10)
}

// ParseStamp takes exactly what FormatStamp returns.
func ParseStamp[T ~string | ~[]byte](text T) (stamp uint64, ok bool) {
	if len(text) == 0 {
		return 0, true
	}
	if len(text) > StampBytesMax || text[0] == '0' {
		return 0, false
	}
	for i := range len(text) { // ParseUint would take a sign
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	stamp, err := strconv.ParseUint(string(text), 10, 64)
	return stamp, err == nil
}
