package godwit

// LogID names a log inside the store: the partition in the top 16 bits, then a
// number allotted within the partition. It is dense so that tables of millions
// of logs need no pointers, and it never leaves the cluster.
type LogID uint64

// NewLogID joins a partition and a number within it (below 2^48).
func NewLogID(p Partition, n uint64) LogID { return LogID(uint64(p)<<48 | n) }

// Partition returns the partition that owns the log.
func (id LogID) Partition() Partition { return Partition(id >> 48) }

// Record is one stored position of a log, as the engine keeps it. Meta and Body
// alias the store's memory: immutable, valid as long as they are referenced.
type Record struct {
	Seq  Seq
	Conv uint32 // the conversation's number within its log, from 1
	Prev Seq    // of the newest older record of the same conversation in the log, 0: there is none
	Time int64  // ms since the Unix epoch, never decreasing within a log
	Meta []byte
	Body []byte
}

// Newest is a conversation of a log and the sequence of its newest record.
type Newest struct {
	Conv uint32
	Seq  Seq
}

// Page asks for records of one conversation: with Forward those after After,
// else the newest before Before (0: from the head). Newest is where the chain of
// Record.Prev begins; records after it are not seen.
type Page struct {
	Newest   Seq // of the conversation; 0: it has none
	Before   Seq
	After    Seq
	Forward  bool
	Limit    int
	BytesMax int // of Meta and Body; at least one record is returned if there is one
}
