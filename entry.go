package godwit

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
