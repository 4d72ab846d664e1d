package godwit

// UserRecord is what an operator sees of a user.
type UserRecord struct {
	User          UserID
	Head          Seq    // newest sequence of the user's log
	Sent          uint64 // messages
	Conversations uint64
	Groups        uint64
	Blocked       uint64
	Contacts      uint64
	Devices       uint64
	Online        bool
	LastSeen      int64 // ms since the Unix epoch; 0: not known
}

// GroupRecord is what an operator sees of a group.
type GroupRecord struct {
	Group    GroupID
	Name     string
	Creator  UserID
	Created  int64 // ms since the Unix epoch
	Members  uint64
	Messages uint64
	Head     Seq // of the group's log
	Channel  bool
}
