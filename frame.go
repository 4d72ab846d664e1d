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

	scratch []byte // unescaped JSON strings and decoded base64 of this frame
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

// ServerFrame is one frame to a client (and what an SDK parses). Kind says
// which body is set. Encoders only read it; slices may alias stored entries.
type ServerFrame struct {
	ID            uint64
	Kind          FrameKind
	Connect       ConnectReply
	Send          SendReply
	Sync          SyncReply
	History       HistoryReply
	Conversations ConversationsReply
	Presence      PresenceReply
	Error         ErrorReply
	Event         Entry
	Skip          Skip
	Resumed       Resumed
	Goaway        Goaway
	Refresh       RefreshReply
	Poll          Poll
	Done          Done
	Group         GroupReply
	Devices       DevicesReply // KindDevice
	People        PeopleReply  // KindBlock, KindContact
	Ephemeral     Ephemeral
	Channel       ChannelStart

	scratch  []byte         // as in ClientFrame
	lastConv ConversationID // of the last send reply parsed, to be reused
}

// ConnectReply opens the session on the server's side and carries every limit.
type ConnectReply struct {
	Session string
	Node    string
	Epoch   string // incarnation of the reader's log
	Seq     Seq    // head of the reader's log
	Resumed bool
	Reason  string // why not resumed, when a resume was asked for
	Missed  uint64 // entries that will be replayed
	Ping    uint32 // seconds between server pings
	TTL     uint32 // seconds the token is still valid
	Time    int64  // server clock, ms since the Unix epoch
	User    UserID
	Device  string
	Caps    []string
	Limits  Limits
	Digest  uint64 // of the reader's conversations at Seq, see docs/protocol.md; 0: not given
}

// Limits are the bounds the server holds this session to.
type Limits struct {
	Frame    uint32 // bytes of one inbound message
	Body     uint32 // bytes of one message body
	InFlight uint32 // requests not yet answered
	SendPerS uint32 // sustained sends per second; 0: not limited
	Page     uint32 // entries of one sync or history page
	Watch    uint32 // watched users; 0: not offered
	Presence uint32 // users of one presence request
	Window   uint32 // durable events not yet acked before replay pauses
	RPC      uint32 // commands of one POST /v1/rpc
	Wait     uint32 // seconds GET /v1/poll may be held
	Queue    uint32 // bytes that may wait for a slow reader
	Sessions uint32 // of one user
	// FramesPerS bounds sustained inbound frames per second; 0: not limited.
	FramesPerS uint32
	Members    uint32 // of one group
	Groups     uint32 // of one user
	Edit       uint32 // seconds in which a message may be edited or recalled; 0: for ever
}

// StateStored is the state of a SendReply.
const StateStored = "stored"

// SendReply says that the message is stored as G1 promises.
type SendReply struct {
	State string // StateStored
	Seq   Seq    // in the sender's log; 0: it has no place there (a channel) or not yet
	GSeq  Seq    // in the group's log; 0: not a group
	MID   MessageID
	Conv  ConversationID
	Time  int64
	Dup   bool
}

// SyncReply is a page of the reader's log. Head is its newest sequence.
type SyncReply struct {
	Entries []Entry
	Head    Seq
	Digest  uint64 // of the reader's conversations at Head; 0: not given
}

// HistoryReply is a page of one conversation in ascending order.
type HistoryReply struct {
	Entries []Entry
	More    bool
}

// ConversationsReply is a page of conversations as of one head of the log.
type ConversationsReply struct {
	Items []ConversationItem
	Next  string // cursor of the next page; empty: no more
	AsOf  Seq
	// Digest of all of the reader's conversations at AsOf; 0: not given.
	Digest uint64
}

// ConversationItem is one conversation as its reader sees it.
type ConversationItem struct {
	Conv   ConversationID
	Last   Entry
	Unread uint64
	Read   Seq // the reader's own read mark; 0: none
	// Delivered is the reader's own mark, too; PeerRead and PeerDelivered are the
	// other's in a 1:1 conversation, in sequences of the reader's log.
	Delivered     Seq
	PeerRead      Seq
	PeerDelivered Seq
	GSeq          Seq    // head of the group's log as the reader may see it; 0: not a group
	Name          string // of the group
	Channel       bool   // sequences above are the channel's
	Mute          int64  // ms since the Unix epoch until which it is silent
	Pin           bool
	Archive       bool
}

// Done answers a request that has nothing to tell but that it is stored.
type Done struct {
	Seq  Seq // in the asker's log; 0: it has no place there
	GSeq Seq // in the group's log
	Dup  bool
}

// GroupReply answers Group.
type GroupReply struct {
	Group     GroupID
	Conv      ConversationID
	Name      string
	Join      string
	History   string
	Role      string // the asker's
	Count     uint32 // members
	Channel   bool
	GSeq      Seq // head of the group's log
	Members   []Member
	Groups    []GroupItem
	Next      string // cursor of the next page; empty: no more
	Delivered uint32 // members who have GSeq delivered, read
	Read      uint32
	Dup       bool
}

// Member is one member of a group.
type Member struct {
	User      UserID
	Role      string
	Since     Seq // of the group's log when he joined
	Delivered Seq // marks, in the group's sequences
	Read      Seq
}

// GroupItem is one of the asker's groups.
type GroupItem struct {
	Group   GroupID
	Conv    ConversationID
	Name    string
	Role    string
	Count   uint32
	Channel bool
}

// DevicesReply lists the devices of a user.
type DevicesReply struct{ Devices []DeviceItem }

// DeviceItem is a device that had a session.
type DeviceItem struct {
	Device string
	Since  int64 // ms since the Unix epoch
	Online bool
	Seen   int64 // last known session, ms since the Unix epoch; 0: not known
	This   bool
}

// PeopleReply is the whole list after the change.
type PeopleReply struct{ Users []UserID }

// Ephemeral is what is never stored: exactly one of its parts is set.
type Ephemeral struct {
	IsTyping bool // else Presence
	Typing   TypingNotice
	Presence PresenceItem
}

// TypingNotice says who writes where, as its reader sees the conversation.
type TypingNotice struct {
	Conv ConversationID
	User UserID
	Stop bool
}

// ChannelStart says that from here on the session gets every entry of a channel
// after GSeq. With Reset it is not where the client asked to resume: what lies
// between has to be taken from history.
type ChannelStart struct {
	Conv  ConversationID
	GSeq  Seq
	Reset bool
}

// PresenceReply answers Presence in the order asked.
type PresenceReply struct{ Users []PresenceItem }

// PresenceItem is one user's presence. LastSeen is in ms since the Unix epoch,
// 0 when unknown.
type PresenceItem struct {
	User     UserID
	Online   bool
	LastSeen int64
}

// ErrorReply answers a request that was not done, or not known to be done.
type ErrorReply struct {
	Code         string
	Num          uint32
	Temporary    bool
	RetryAfterMS uint32
	Message      string
}

// Skip says that From..To hold nothing to see any more.
type Skip struct{ From, To Seq }

// Resumed says that the replay is over: from here on entries are live.
type Resumed struct{ Seq Seq }

// Goaway asks the client to move: connect elsewhere (or again) AfterMS later,
// spread over SpreadMS.
type Goaway struct {
	Reason   string
	AfterMS  uint32
	SpreadMS uint32
	URL      string
}

// RefreshReply says that the new token counts.
type RefreshReply struct {
	TTL uint32 // seconds it is valid
}

// Poll ends the answer to GET /v1/poll. Cursor is opaque: given back, it
// acknowledges what came before it and asks for what comes after.
type Poll struct{ Cursor string }

// EntryKind says what an Entry is; which of its bodies is set.
type EntryKind uint8

// The kinds of entries.
const (
	EntryMessage  EntryKind = iota
	EntryReceipt            // a mark moved
	EntryEdit               // Msg has MID, Conv, From, Time and the new body
	EntryRecall             // Msg has MID, Conv, From and Time
	EntryGroup              // the group changed
	EntrySettings           // what the reader alone sees of a conversation changed
)

// Entry is one position of a log as clients see it, or a skip range when SkipTo
// is set (Seq..SkipTo).
type Entry struct {
	Seq    Seq // in the reader's log; 0: of a channel, which has only GSeq
	SkipTo Seq
	GSeq   Seq // in the group's log; 0: not of a group
	Kind   EntryKind
	Msg    Message // of messages, edits and recalls
	// The other bodies are rare and therefore behind a pointer, nil unless Kind says so.
	Receipt  *Receipt
	Group    *GroupChange
	Settings *ConversationSettings
}

// Message is the body of an entry. Byte slices alias the stored record, which
// is immutable and lives as long as it is referenced.
type Message struct {
	MID      MessageID
	Conv     []byte // a ConversationID as the log's owner sees it
	From     []byte // a UserID
	CID      []byte
	Time     int64 // ms since the Unix epoch, never decreasing within a log
	Body     []byte
	Text     bool   // Body is UTF-8 text ("text"), else opaque ("data")
	Type     []byte // media type, optional
	Edited   int64  // ms since the Unix epoch when Body was last changed; 0: never
	Recalled bool   // taken back: Body is empty
}

// Receipt says how far a user has got a conversation, in sequences of the log it
// is read from (in a channel: of the channel).
type Receipt struct {
	Conv      ConversationID
	User      UserID // the reader himself, on another device, or the other
	Delivered Seq
	Read      Seq
	Unread    uint64 // of the reader himself, after the mark
}

// GroupChange is a change of a group. Do is one of GroupCreate, GroupSet,
// GroupAdd, GroupRemove, GroupLeave, GroupJoin, GroupRole or GroupBecomesChannel.
type GroupChange struct {
	Conv    ConversationID
	By      UserID
	Time    int64
	Do      string
	Users   []UserID // who was added, removed, given a role; at most GroupChangeUsersMax are named
	Count   uint32   // members after it
	Name    string
	Role    string
	Join    string
	History string
}

// GroupBecomesChannel is the change after which entries of the group no longer
// stand in members' logs: those with a larger GSeq come by the channel.
const GroupBecomesChannel = "channel"

// GroupChangeUsersMax bounds the users that one change names.
const GroupChangeUsersMax = 1000

// ConversationSettings is what the reader alone sees of a conversation.
type ConversationSettings struct {
	Conv    ConversationID
	Mute    int64
	Pin     bool
	Archive bool
	Deleted Seq // entries up to here are gone for the reader
}

// MessageID names a message for ever, the same in every log. It is opaque to
// clients: 16 bytes, 22 characters of unpadded base64url.
type MessageID [16]byte

// IsSkip reports whether the entry is a skip range.
func (e *Entry) IsSkip() bool { return e.SkipTo != 0 }
