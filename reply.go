package godwit

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
	Stamp   string // opaque; the client echoes it in its next Resume
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
	IsTyping  bool // else IsReceipt is looked at
	IsReceipt bool // else Presence
	Typing    TypingNotice
	Presence  PresenceItem
	// Receipt says where the marks of another member of a small group stand now, in
	// the group's sequences. One that was overtaken may come after a newer one.
	Receipt Receipt
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
