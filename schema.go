package godwit

// field is one field of a message in godwit.proto: its JSON name and what it
// holds. A test compares these tables with the schema.
type field struct {
	name  string
	class fieldClass
}

type fieldClass uint8

const (
	aNumber  fieldClass = iota + 1 // a bool, too
	aString                        // or bytes
	aMessage                       // at most once, even in Protobuf
	aList                          // of strings or messages
)

// fields are a message's fields by number. Numbers stay small, so a linear look
// over the names is the fastest search.
type fields []field

// Wire types of Protobuf.
const (
	wireVarint uint8 = 0
	wireI64    uint8 = 1
	wireBytes  uint8 = 2
	wireI32    uint8 = 5
)

func (f field) wire() uint8 {
	if f.class == aNumber {
		return wireVarint
	}
	return wireBytes
}

// lookup returns the number of the field with that JSON name, or 0.
func (fs fields) lookup(name []byte) int {
	for i := 1; i < len(fs); i++ {
		if string(name) == fs[i].name {
			return i
		}
	}
	return 0
}

var clientFields = fields{
	1:  {"id", aNumber},
	2:  {"connect", aMessage},
	3:  {"send", aMessage},
	4:  {"sync", aMessage},
	5:  {"history", aMessage},
	6:  {"conversations", aMessage},
	7:  {"ack", aMessage},
	8:  {"presence", aMessage},
	9:  {"refresh", aMessage},
	10: {"mark", aMessage},
	11: {"typing", aMessage},
	12: {"group", aMessage},
	13: {"edit", aMessage},
	14: {"recall", aMessage},
	15: {"device", aMessage},
	16: {"block", aMessage},
	17: {"contact", aMessage},
	18: {"conversation", aMessage},
}

// clientKinds and serverKinds give the kind of the body in each field.
var (
	clientKinds = [...]FrameKind{2: KindConnect, KindSend, KindSync, KindHistory, KindConversations, KindAck, KindPresence, KindRefresh, KindMark, KindTyping, KindGroup, KindEdit, KindRecall, KindDevice, KindBlock, KindContact, KindConversation}
	serverKinds = [...]FrameKind{2: KindConnect, KindSend, KindSync, KindHistory, KindConversations, KindEvent, KindPresence, KindError, KindSkip, KindResumed, KindGoaway, KindRefresh, KindPoll, KindDone, KindGroup, KindDevice, KindBlock, KindContact, KindEphemeral, KindChannel}
)

var connectFields = fields{
	1: {"token", aString},
	2: {"device", aString},
	3: {"caps", aList},
	4: {"resume", aMessage},
}

var resumeFields = fields{
	1: {"epoch", aString},
	2: {"seq", aNumber},
	3: {"channels", aList},
	4: {"stamp", aString},
}

var sendFields = fields{
	1: {"to", aString},
	2: {"group", aString},
	3: {"cid", aString},
	4: {"text", aString},
	5: {"data", aString},
	6: {"type", aString},
	7: {"time", aNumber},
}

var syncFields = fields{
	1: {"since", aNumber},
	2: {"from", aNumber},
	3: {"to", aNumber},
	4: {"limit", aNumber},
}

var historyFields = fields{
	1: {"conv", aString},
	2: {"before", aNumber},
	3: {"after", aNumber},
	4: {"limit", aNumber},
	5: {"gbefore", aNumber},
	6: {"gafter", aNumber},
}

var conversationsFields = fields{
	1: {"limit", aNumber},
	2: {"next", aString},
}

var ackFields = fields{1: {"seq", aNumber}}

var presenceFields = fields{
	1: {"get", aList},
	2: {"watch", aList},
	3: {"watching", aNumber},
	4: {"device", aString},
}

var refreshFields = fields{1: {"token", aString}}

var serverFields = fields{
	1:  {"id", aNumber},
	2:  {"connect", aMessage},
	3:  {"send", aMessage},
	4:  {"sync", aMessage},
	5:  {"history", aMessage},
	6:  {"conversations", aMessage},
	7:  {"ev", aMessage},
	8:  {"presence", aMessage},
	9:  {"error", aMessage},
	10: {"skip", aMessage},
	11: {"resumed", aMessage},
	12: {"goaway", aMessage},
	13: {"refresh", aMessage},
	14: {"poll", aMessage},
	15: {"done", aMessage},
	16: {"group", aMessage},
	17: {"device", aMessage},
	18: {"block", aMessage},
	19: {"contact", aMessage},
	20: {"eph", aMessage},
	21: {"channel", aMessage},
}

var connectReplyFields = fields{
	1:  {"session", aString},
	2:  {"node", aString},
	3:  {"epoch", aString},
	4:  {"seq", aNumber},
	5:  {"resumed", aNumber},
	6:  {"reason", aString},
	7:  {"missed", aNumber},
	8:  {"ping", aNumber},
	9:  {"ttl", aNumber},
	10: {"time", aNumber},
	11: {"user", aString},
	12: {"device", aString},
	13: {"caps", aList},
	14: {"limits", aMessage},
	15: {"digest", aNumber},
	16: {"stamp", aString},
}

var limitsFields = fields{
	1:  {"frame", aNumber},
	2:  {"body", aNumber},
	3:  {"inflight", aNumber},
	4:  {"send_per_s", aNumber},
	5:  {"page", aNumber},
	6:  {"watch", aNumber},
	7:  {"presence", aNumber},
	8:  {"window", aNumber},
	9:  {"rpc", aNumber},
	10: {"wait", aNumber},
	11: {"queue", aNumber},
	12: {"sessions", aNumber},
	13: {"frames_per_s", aNumber},
	14: {"members", aNumber},
	15: {"groups", aNumber},
	16: {"edit", aNumber},
}

var sendReplyFields = fields{
	1: {"state", aString},
	2: {"seq", aNumber},
	3: {"mid", aString},
	4: {"conv", aString},
	5: {"time", aNumber},
	6: {"dup", aNumber},
	7: {"gseq", aNumber},
}

var syncReplyFields = fields{
	1: {"entries", aList},
	2: {"head", aNumber},
	3: {"digest", aNumber},
}

var historyReplyFields = fields{
	1: {"entries", aList},
	2: {"more", aNumber},
}

var conversationsReplyFields = fields{
	1: {"items", aList},
	2: {"next", aString},
	3: {"as_of", aNumber},
	4: {"digest", aNumber},
}

var conversationItemFields = fields{
	1:  {"conv", aString},
	2:  {"last", aMessage},
	3:  {"unread", aNumber},
	4:  {"read", aNumber},
	5:  {"delivered", aNumber},
	6:  {"peer_read", aNumber},
	7:  {"peer_delivered", aNumber},
	8:  {"gseq", aNumber},
	9:  {"name", aString},
	10: {"channel", aNumber},
	11: {"mute", aNumber},
	12: {"pin", aNumber},
	13: {"archive", aNumber},
}

var presenceReplyFields = fields{1: {"users", aList}}

var presenceItemFields = fields{
	1: {"user", aString},
	2: {"online", aNumber},
	3: {"last_seen", aNumber},
}

var entryFields = fields{
	1: {"seq", aNumber},
	2: {"msg", aMessage},
	3: {"skip", aMessage},
	4: {"gseq", aNumber},
	5: {"receipt", aMessage},
	6: {"edit", aMessage},
	7: {"recall", aMessage},
	8: {"group", aMessage},
	9: {"settings", aMessage},
}

var messageFields = fields{
	1:  {"mid", aString},
	2:  {"conv", aString},
	3:  {"from", aString},
	4:  {"cid", aString},
	5:  {"time", aNumber},
	6:  {"text", aString},
	7:  {"data", aString},
	8:  {"type", aString},
	9:  {"edited", aNumber},
	10: {"recalled", aNumber},
}

var errorFields = fields{
	1: {"code", aString},
	2: {"num", aNumber},
	3: {"temporary", aNumber},
	4: {"retry_after_ms", aNumber},
	5: {"message", aString},
}

var skipFields = fields{
	1: {"from", aNumber},
	2: {"to", aNumber},
}

var resumedFields = fields{1: {"seq", aNumber}}

var goawayFields = fields{
	1: {"reason", aString},
	2: {"after_ms", aNumber},
	3: {"spread_ms", aNumber},
	4: {"url", aString},
}

var refreshReplyFields = fields{1: {"ttl", aNumber}}

var pollFields = fields{1: {"cursor", aString}}
