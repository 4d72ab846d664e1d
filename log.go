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
	Time int64  // ms since the Unix epoch, never decreasing within a log
	Meta []byte
	Body []byte
}

// Page asks for records of one conversation: with Forward those after After,
// else the newest before Before (0: from the head).
type Page struct {
	Before   Seq
	After    Seq
	Forward  bool
	Limit    int
	BytesMax int // of Meta and Body; at least one record is returned if there is one
}
