package chat

import "github.com/godwit-im/godwit"

// Who connects is about to open the app: the newest messages of the newest
// conversations are read into the store's memory ahead of that, by one goroutine,
// so that a storm of logins does not take the disk from requests.

const (
	// warmQueueMax bounds the users that wait. Overflow: the user's first pages
	// come from the disk.
	warmQueueMax = 4096
	// warmConversations is how many conversations an app shows at first.
	warmConversations = 5
)

// warm is called when a session starts.
func (s *Service) warm(user godwit.UserID) {
	select {
	case s.warming <- user:
	default:
	}
}

func (s *Service) warmLoop() {
	w := &readWorker{service: s}
	var conversations []godwit.Newest
	for {
		select {
		case <-s.stop:
			return
		case user := <-s.warming:
			conversations = w.warmUp(user, conversations[:0])
		}
	}
}

// warmUp has nobody to tell of a failure: a request that needs the same will
// meet it again.
func (w *readWorker) warmUp(user godwit.UserID, conversations []godwit.Newest) []godwit.Newest {
	r := &read{user: user, group: w.service.cfg.Store.Group(user.Partition()), limit: warmConversations}
	v := w.service.cfg.Store.View(r.group)
	defer v.Close()
	u, refusal := userOfView(v, user)
	if refusal != nil || u.conversations == 0 || v.IsWarm(u.logID(user)) {
		return conversations
	}
	items, _, _ := w.newest(v, r)
	for _, item := range items[:min(len(items), warmConversations)] {
		conversations = append(conversations, godwit.Newest{Conv: uint32(item.row.number), Seq: item.row.last})
	}
	v.Warm(u.logID(user), conversations)
	if err := v.Err(); err != nil {
		w.service.cfg.Logger.Error("warming failed", "group", r.group, "error", err)
	}
	return conversations
}
