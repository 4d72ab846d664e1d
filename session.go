package godwit

import "strconv"

// Welcome is the chat tier's answer to a session that asked to be opened.
type Welcome struct {
	Epoch   string // incarnation of the user's log
	Head    Seq    // newest sequence of the log
	Start   Seq    // the session already has everything up to here
	Resumed bool
	Reason  string // why not resumed, when a resume was asked for: "epoch", "too_far", "ahead"
	Digest  uint64 // of the user's conversations at Head; 0: not given
	// Channels says that the places of the user's channels follow, each told by a
	// ChannelStart, and after them one with an empty Conv, which no client sees: an
	// answer to a poll that has to say where the client stands waits for it.
	Channels bool
}

// SessionEdgeShift is where the index of a session's edge process begins in a
// SessionID: an edge uses the bits below it only, and 0 above is the edge of
// this process. Indexes are at most SessionEdgeMax.
const (
	SessionEdgeShift = 51
	SessionEdgeMax   = 1<<12 - 1
)

// DeviceOf is how an edge calls the device of a session whose client names none.
func DeviceOf(s SessionID) string {
	return "ds" + strconv.FormatUint(uint64(s)&(1<<SessionEdgeShift-1), 36)
}

// DeviceSession is a session of a user's device.
type DeviceSession struct {
	Device  string
	Session SessionID
}

// Identity is what a token says and somebody signed.
type Identity struct {
	User    UserID
	Expires int64 // ms since the Unix epoch; 0: never
	Issued  int64 // ms since the Unix epoch; 0: the token does not say
}

// ChannelPlacesMax bounds the channels whose places a session may name.
const ChannelPlacesMax = 200

// Hello is a session that proved who it is and asks to be opened. Its slices are
// the receiver's.
type Hello struct {
	User      UserID
	Device    string // never empty: the edge makes one up if the client gave none
	Resume    bool
	Epoch     string
	ResumeSeq Seq
	Channels  []ChannelPlace // places of a client that resumes
	Issued    int64          // when the token was issued, ms since the Unix epoch; 0: it does not say
	// Stamp orders the connections of the device: a session never takes the place of
	// one with a larger stamp. 0: the later arrival is the newer.
	Stamp uint64
	// Again says that the session is open at its edge, and was opened before by a chat
	// tier that is gone: it resumes, and its client is not told.
	Again bool
	// Call asks only whether the token may still make requests: no session begins,
	// and Disconnect does not follow. Device is empty if the client named none.
	Call bool
}
