package godwit

// FrameKind says which body of a ClientFrame or ServerFrame is set.
type FrameKind uint8

// The kinds of frames. KindPing is the empty frame {}: from the server a ping,
// from the client its answer.
const (
	KindPing FrameKind = iota
	KindConnect
	KindSend
	KindSync
	KindHistory
	KindConversations
	KindAck
	KindPresence
	KindError
	KindEvent
	KindSkip
	KindResumed
	KindGoaway
	KindRefresh
	KindPoll
	KindMark
	KindTyping
	KindGroup
	KindEdit
	KindRecall
	KindDevice
	KindBlock
	KindContact
	KindConversation // settings of one conversation
	KindDone
	KindEphemeral
	KindChannel
)

// ClientFrame is one frame from a client. Kind says which body is set; all
// others are zero. Byte slices and strings of a parsed frame alias the input or
// the parser's scratch: they die with the next Parse into the same frame, and
// with the input. One goroutine at a time.
type ClientFrame struct {
	ID            uint64 // chosen by the client; the reply or error carries it. 0: none wanted
	Kind          FrameKind
	Connect       Connect
	Send          Send
	Sync          Sync
	History       History
	Conversations Conversations
	Ack           Ack
	Presence      Presence
	Refresh       Refresh
	Mark          Mark
	Typing        Typing
	Group         Group
	Edit          Edit
	Recall        Recall
	Device        Device
	Block         People
	Contact       People
	Conversation  ConversationChange

	scratch []byte      // unescaped JSON strings and decoded base64 of this frame
	lists   [2][][]byte // storage of a body's lists of strings, of which it has at most two
}

// Connect opens a session; it is the first frame unless the token came with the
// upgrade, and then it may be left out (device and resume stay unset).
type Connect struct {
	Token  []byte
	Device []byte
	Caps   [][]byte
	Resume Resume
}

// Resume asks for every entry after Seq of the log's incarnation Epoch.
type Resume struct {
	Set   bool
	Epoch []byte
	Seq   Seq
	// Channels are the client's places in its channels. One it does not name
	// begins where the reader's log tells of it after Seq, else at its head.
	Channels []ChannelPlace
	// Stamp is that of the newest connect reply the client has, as it came.
	Stamp []byte
}

// ChannelPlace says that everything of a channel up to a sequence of the channel
// is held.
type ChannelPlace struct {
	Conv []byte // "g:" and the group's id
	GSeq Seq
}

// Send asks for one message to be stored and delivered.
type Send struct {
	To    []byte // a user id or "u:bob"; exactly one of To and Group
	Group []byte
	CID   []byte // names the message across retries; required
	Text  []byte // UTF-8 body; exactly one of Text and Data
	Data  []byte // opaque body (base64 in JSON)
	// HasText and HasData tell an empty body from none.
	HasText, HasData bool
	Type             []byte // media type of the body, optional
	Time             int64  // ms since the Unix epoch of the client's first attempt; 0: unknown
}

// Sync asks for the reader's log after Since, or From..To inclusive when To is set.
type Sync struct {
	Since Seq
	From  Seq
	To    Seq
	Limit uint32 // entries; 0: the server's page limit
}

// History asks for one page of a conversation, before or after a sequence.
// With neither, the newest page.
type History struct {
	Conv   []byte
	Before Seq
	After  Seq
	// HasAfter tells "after 0" (from the beginning) from "not given".
	HasAfter bool
	Limit    uint32
	// GBefore and GAfter page by the group's own sequence instead: what came
	// before the reader joined has no other. In a channel Before and After mean the same.
	GBefore   Seq
	GAfter    Seq
	HasGAfter bool
}

// Conversations asks for a page of recent conversations, newest first.
type Conversations struct {
	Limit uint32
	Next  []byte // cursor of the former reply, opaque; empty: first page
}

// Ack says that the client holds everything up to Seq.
type Ack struct{ Seq Seq }

// Presence asks whether users are online (Get), and replaces the list of those
// whose changes the session is told of (Watch, if HasWatch).
type Presence struct {
	Get      [][]byte
	Watch    [][]byte
	HasWatch bool // an empty list ends the watching
	// Device whose session is told: a list in POST /v1/rpc, which is none, must name
	// it. Empty: the session that asks.
	Device []byte
}

// Mark moves the reader's marks of a conversation forward. Sequences are those of
// the reader's log, in a channel the channel's. A mark that is behind changes nothing.
type Mark struct {
	Conv      []byte
	Delivered Seq // a device of the reader has everything up to here; 0: not said
	Read      Seq // the reader has seen everything up to here; 0: not said
}

// Typing says that the sender is writing in a conversation, or has stopped.
type Typing struct {
	Conv []byte
	Stop bool
}

// What a Group frame asks for.
const (
	GroupCreate   = "create"
	GroupInfo     = "info"     // → GroupReply without members
	GroupMembers  = "members"  // a page of members, by Next and Limit
	GroupList     = "list"     // a page of the asker's groups, by Next and Limit
	GroupSet      = "set"      // name, join policy, visibility: those given
	GroupAdd      = "add"      // Users
	GroupRemove   = "remove"   // Users
	GroupLeave    = "leave"    //
	GroupJoin     = "join"     // if the group's join policy allows it
	GroupRole     = "role"     // gives Users the Role
	GroupReceipts = "receipts" // how many members have GSeq delivered and read
)

// Join policies, visibilities of history and roles of a group.
const (
	JoinInvite = "invite" // owner and admins add members (the standard)
	JoinOpen   = "open"   // who knows the id may join

	HistoryJoined = "joined" // a member sees what came after he joined (the standard)
	HistoryAll    = "all"

	RoleOwner  = "owner"
	RoleAdmin  = "admin"
	RoleMember = "member"
)

// Group is a request about groups. Do says what; fields it does not use are ignored.
type Group struct {
	Do      []byte
	Group   []byte // the id, with or without "g:"
	CID     []byte // create: names the request across retries, optional
	Name    []byte // UTF-8, at most GroupNameBytesMax
	HasName bool
	Users   [][]byte
	Role    []byte
	Join    []byte
	History []byte
	GSeq    Seq
	Next    []byte
	Limit   uint32
}

// GroupNameBytesMax bounds the name of a group.
const GroupNameBytesMax = 256

// Edit replaces the body of a message of one's own.
type Edit struct {
	MID              []byte
	Text             []byte
	Data             []byte
	HasText, HasData bool
	Type             []byte
}

// Recall takes a message back, for everyone.
type Recall struct{ MID []byte }

// What a Device frame asks for.
const (
	DeviceList   = "list"
	DeviceLogout = "logout" // Device, or with All all devices (this one, too)
)

// Device lists the user's devices or logs them out.
type Device struct {
	Do     []byte
	Device []byte
	All    bool
}

// People changes and returns a list of users: those one blocks, or one's
// contacts. With neither Add nor Remove it is only returned.
type People struct {
	Add    [][]byte
	Remove [][]byte
}

// ConversationChange sets what the reader alone sees of a conversation; what is
// not given stays.
type ConversationChange struct {
	Conv       []byte
	Mute       int64 // ms since the Unix epoch until which it is silent; 0: it is not
	HasMute    bool
	Pin        bool
	HasPin     bool
	Archive    bool
	HasArchive bool
	// Delete removes the entries up to here for the reader alone (in a channel the
	// channel's sequence). 0: none.
	Delete Seq
}

// Refresh gives the session a new token of the same user before its own ends.
type Refresh struct{ Token []byte }
