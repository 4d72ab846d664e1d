package chat

// fanouts brings entries of groups' logs to their members.
type fanouts struct{}

// entered takes a new entry of a group's log from a flush. It does not block.
func (f *fanouts) entered(*groupEffect) {}
