package godwit

// Welcome is the chat tier's answer to a session that asked to be opened.
type Welcome struct {
	Epoch   string // incarnation of the user's log
	Head    Seq    // newest sequence of the log
	Start   Seq    // the session already has everything up to here
	Resumed bool
	Reason  string // why not resumed, when a resume was asked for: "epoch", "too_far", "ahead"
}
