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
}

// Conversations asks for a page of recent conversations, newest first.
type Conversations struct {
	Limit uint32
	Next  []byte // cursor of the former reply, opaque; empty: first page
}

// Ack says that the client holds everything up to Seq.
type Ack struct{ Seq Seq }

// Presence asks whether users are online.
type Presence struct{ Get [][]byte }

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
}

// StateStored is the state of a SendReply.
const StateStored = "stored"

// SendReply says that the message is stored as G1 promises.
type SendReply struct {
	State string // StateStored
	Seq   Seq    // in the sender's log
	MID   MessageID
	Conv  ConversationID
	Time  int64
	Dup   bool
}

// SyncReply is a page of the reader's log. Head is its newest sequence.
type SyncReply struct {
	Entries []Entry
	Head    Seq
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
}

// ConversationItem is one conversation as its reader sees it.
type ConversationItem struct {
	Conv   ConversationID
	Last   Entry
	Unread uint64
	Read   Seq // the reader's own read mark; 0: none
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

// Entry is one position of a log as clients see it: a message, or a skip range
// when SkipTo is set (Seq..SkipTo).
type Entry struct {
	Seq    Seq
	SkipTo Seq
	Msg    Message
}

// Message is the body of an entry. Byte slices alias the stored record, which
// is immutable and lives as long as it is referenced.
type Message struct {
	MID  MessageID
	Conv []byte // a ConversationID as the log's owner sees it
	From []byte // a UserID
	CID  []byte
	Time int64 // ms since the Unix epoch, never decreasing within a log
	Body []byte
	Text bool   // Body is UTF-8 text ("text"), else opaque ("data")
	Type []byte // media type, optional
}

// MessageID names a message for ever, the same in every log. It is opaque to
// clients: 16 bytes, 22 characters of unpadded base64url.
type MessageID [16]byte

// IsSkip reports whether the entry is a skip range.
func (e *Entry) IsSkip() bool { return e.SkipTo != 0 }
