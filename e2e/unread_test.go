package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/client"
)

// reader is a user of the run on unread counts: he writes to the others and to the
// group, marks what he got, and changes his mind.
type reader struct {
	*client.Client
	user  godwit.UserID
	peers []string // conversations

	mu   sync.Mutex
	got  map[string][]godwit.Seq // newest last, by conversation
	sent []godwit.MessageID
}

func (r *reader) listen(ctx context.Context) {
	for item, err := range r.Events(ctx) {
		if err != nil {
			return
		}
		if e := &item.Entry; e.Kind == godwit.EntryMessage && !e.IsSkip() && e.Seq != 0 {
			r.mu.Lock()
			r.got[string(e.Msg.Conv)] = append(r.got[string(e.Msg.Conv)], e.Seq)
			r.mu.Unlock()
		}
	}
}

// act does one thing. What is refused, or not known to be done, is no failure
// here: the counts must be right whatever became of it.
func (r *reader) act(ctx context.Context, rng *rand.Rand, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conv := r.peers[rng.IntN(len(r.peers))]
	r.mu.Lock()
	got, sent := r.got[conv], r.sent
	r.mu.Unlock()
	var err error
	switch k := rng.IntN(20); {
	case k < 12:
		var s client.Sent
		if s, err = r.Send(ctx, conv, client.Message{Text: fmt.Sprint(r.user, " ", n)}); err == nil {
			r.mu.Lock()
			r.sent = append(r.sent, s.MID)
			r.mu.Unlock()
		}
	case k < 17 && len(got) > 0:
		_, err = r.Mark(ctx, conv, client.Marks{Read: got[rng.IntN(len(got))]})
	case k < 19 && len(sent) > 0:
		_, err = r.Edit(ctx, sent[rng.IntN(len(sent))], client.Message{Text: fmt.Sprint("edited ", n)})
	case len(sent) > 0:
		_, err = r.Recall(ctx, sent[rng.IntN(len(sent))])
	}
	if refused := (*godwit.Error)(nil); errors.As(err, &refused) || errors.Is(err, client.ErrUnknown) {
		return nil
	}
	return err
}

// counted is unread, and the mark, of one conversation.
type counted struct {
	unread uint64
	read   godwit.Seq
}

// byConversations is what the server says.
func (r *reader) byConversations(ctx context.Context) (map[string]counted, error) {
	all := map[string]counted{}
	for item, err := range r.Conversations(ctx) {
		if err != nil {
			return nil, err
		}
		all[string(item.Conv)] = counted{item.Unread, item.Read}
	}
	return all, nil
}

// byForce counts over the whole log: messages of others after the last mark.
func (r *reader) byForce(ctx context.Context) (all map[string]counted, skips int, err error) {
	marks, messages := map[string]godwit.Seq{}, map[string][]godwit.Seq{}
	var entries []godwit.Entry
	for since, head := godwit.Seq(0), godwit.Seq(1); since < head; {
		if entries, head, err = r.Sync(ctx, since, 100); err != nil {
			return nil, 0, err
		}
		if len(entries) == 0 && since < head {
			return nil, 0, fmt.Errorf("a silent gap after %d, the head is %d", since, head)
		}
		for i := range entries {
			e := &entries[i]
			if e.Seq != since+1 {
				return nil, 0, fmt.Errorf("%d follows %d", e.Seq, since)
			}
			since = max(e.Seq, e.SkipTo)
			switch {
			case e.IsSkip():
				skips++
			case e.Kind == godwit.EntryMessage && string(e.Msg.From) != string(r.user):
				messages[string(e.Msg.Conv)] = append(messages[string(e.Msg.Conv)], e.Seq)
			case e.Kind == godwit.EntryMessage:
				messages[string(e.Msg.Conv)] = append(messages[string(e.Msg.Conv)], 0) // his own: the conversation is there
			case e.Kind == godwit.EntryGroup:
				messages[string(e.Group.Conv)] = append(messages[string(e.Group.Conv)], 0)
			case e.Kind == godwit.EntryReceipt && e.Receipt.User == r.user:
				marks[string(e.Receipt.Conv)] = e.Receipt.Read
			}
		}
	}
	all = map[string]counted{}
	for conv, seqs := range messages {
		c := counted{read: marks[conv]}
		for _, seq := range seqs {
			if seq > c.read {
				c.unread++
			}
		}
		all[conv] = c
	}
	return all, skips, nil
}

// TestUnreadCountsSurviveKills: users write to each other and in a group, mark,
// edit and recall, while the server is killed again and again. Then each unread
// count is that of a count by brute force over the log.
func TestUnreadCountsSurviveKills(t *testing.T) {
	for _, groups := range []string{"1", "8"} {
		t.Run(groups+" raft groups", func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "", "GODWIT_ENGINE_GROUPS="+groups)
			s.start()
			s.testUnread(t, 5, 4, 40)
		})
	}
}

func (s *server) testUnread(t *testing.T, users, kills, acts int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	names := make([]string, users)
	for i := range names {
		names[i] = fmt.Sprintf("reader-%c", 'a'+i)
	}
	tokens := s.tokens(names...)
	readers := make([]*reader, users)
	var listening sync.WaitGroup
	for i, name := range names {
		c, err := client.Dial(ctx, client.Config{URL: s.url(), Token: tokens[name], Device: "d", BackoffFirst: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{Client: c, user: godwit.UserID(name), got: map[string][]godwit.Seq{}}
		for _, peer := range names {
			if peer != name {
				r.peers = append(r.peers, "u:"+peer)
			}
		}
		listening.Go(func() { r.listen(ctx) })
		readers[i] = r
	}
	var others []godwit.UserID
	for _, name := range names[1:] {
		others = append(others, godwit.UserID(name))
	}
	group, err := readers[0].CreateGroup(ctx, client.NewGroup{Name: "all", Members: others})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readers {
		r.peers = append(r.peers, string(group.Conv), string(group.Conv))
	}
	s.killWhile(kills, func() {
		var acting sync.WaitGroup
		for i, r := range readers {
			acting.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 17))
				for n := range acts {
					if err := r.act(ctx, rng, n); err != nil {
						t.Errorf("%s: %v", r.user, err)
						return
					}
				}
			})
		}
		acting.Wait()
	})
	skips := 0
	for _, r := range readers {
		skips += r.checkUnread(ctx, t)
	}
	t.Logf("%d superseded marks", skips)
	for _, r := range readers {
		_ = r.Close()
	}
	cancel()
	listening.Wait()
}

// killWhile kills and restarts the server, so many times, while work goes on.
func (s *server) killWhile(kills int, work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	for range kills {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(100+rand.IntN(300)) * time.Millisecond):
		}
		s.kill()
		s.start()
	}
	<-done
}

// checkUnread compares both counts, once what is on its way has arrived.
func (r *reader) checkUnread(ctx context.Context, t *testing.T) (skips int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		forced, skips, err := r.byForce(ctx)
		if err != nil {
			t.Fatalf("%s: %v", r.user, err)
		}
		said, err := r.byConversations(ctx)
		if err != nil {
			t.Fatalf("%s: %v", r.user, err)
		}
		again, _, err := r.byForce(ctx)
		if err != nil {
			t.Fatalf("%s: %v", r.user, err)
		}
		if fmt.Sprint(forced) != fmt.Sprint(again) {
			continue // the log grew meanwhile
		}
		if len(said) == 0 || fmt.Sprint(said) != fmt.Sprint(forced) {
			t.Errorf("%s: the server counts\n%v, the log has\n%v", r.user, said, forced)
		}
		return skips
	}
}
