package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/godwit-im/godwit/engine"
)

// engineStore is the product's engine, raft included: an append is proposed,
// logged, synced, committed, applied and then acknowledged.
type engineStore struct {
	store *engine.Store
	users uint32
}

// engineConversation is the only conversation of every log.
const engineConversation = 1

func engineConfig(o openOptions) engine.Config {
	return engine.Config{
		Dir: o.Dir, CacheBytes: o.CacheBytes, NoCompression: !o.Compress,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func openEngine(o openOptions) (peer, error) {
	cfg := engineConfig(o)
	s, err := engine.Open(cfg, newEngineMachine(max(cfg.Groups, 1)))
	if err != nil {
		return nil, err
	}
	return &engineStore{store: s, users: o.Users}, nil
}

// engineLog is the log of a user: users are spread over all partitions.
func engineLog(user uint32) engine.LogID {
	return godwit.NewLogID(godwit.Partition(user%godwit.Partitions), uint64(user/godwit.Partitions)+1)
}

// engineMachine executes commands: the log's id, u64 LE, then the text.
type engineMachine struct {
	applied [][]*engineWaiter // per group, owned by its applier; answered at Flush
}

func newEngineMachine(groups int) *engineMachine {
	return &engineMachine{applied: make([][]*engineWaiter, groups)}
}

// Reads names nothing: Apply gets no rows.
func (m *engineMachine) Reads([]byte, func([]byte)) {}

// Apply appends the text to its log.
func (m *engineMachine) Apply(tx *engine.Tx, command []byte, w engine.Waiter) {
	log := engine.LogID(binary.LittleEndian.Uint64(command))
	tx.Append(log, engine.Entry{
		Conv: engineConversation, Prev: tx.Head(log), Time: tx.Stamp(), Body: command[8:],
	})
	if w != nil {
		m.applied[tx.Group()] = append(m.applied[tx.Group()], w.(*engineWaiter))
	}
}

// Flush acknowledges what became visible.
func (m *engineMachine) Flush(group int, _ bool) {
	for _, w := range m.applied[group] {
		w.ack <- nil
	}
	clear(m.applied[group])
	m.applied[group] = m.applied[group][:0]
}

// engineWaiter is an appender and, while it waits, its own engine.Waiter.
type engineWaiter struct {
	store   *engine.Store
	command []byte
	ack     chan error // capacity 1
}

// Fail answers an append that was not applied.
func (w *engineWaiter) Fail(err error) { w.ack <- err }

func (s *engineStore) Appender(int) appender {
	return &engineWaiter{store: s.store, ack: make(chan error, 1)}
}

// refusedPause is how long an appender waits before it tries again what the
// engine, whose queue is full, refused.
const refusedPause = 200 * time.Microsecond

func (w *engineWaiter) Append(user uint32, text []byte) error {
	log := engineLog(user)
	w.command = binary.LittleEndian.AppendUint64(w.command[:0], uint64(log))
	w.command = append(w.command, text...)
	group := w.store.Group(log.Partition())
	for {
		err := w.store.Propose(group, w.command, w)
		if err == nil {
			return <-w.ack
		}
		if !errors.Is(err, engine.ErrUnavailable) {
			return err
		}
		time.Sleep(refusedPause)
	}
}

// Settle flushes and waits until no merge is left.
func (s *engineStore) Settle(stop <-chan struct{}) error {
	if err := s.store.Checkpoint(); err != nil {
		return err
	}
	return waitQuiet(stop, 200*time.Millisecond)
}

func (s *engineStore) Prepare([]uint32) {}

// Page reads backwards from the newest message; from is the sequence before
// which the page ends.
func (s *engineStore) Page(user uint32, from uint64, limit int, fn func([]byte)) (uint64, error) {
	log := engineLog(user)
	v := s.store.View(s.store.Group(log.Partition()))
	defer v.Close()
	page := engine.Page{Newest: v.Head(log), Before: godwit.Seq(from), Limit: limit, BytesMax: 1 << 20}
	if page.Newest == 0 {
		return 0, nil
	}
	entries, more := v.Conversation(log, engineConversation, page, nil)
	for i := range entries {
		fn(entries[i].Body)
	}
	if err := v.Err(); err != nil {
		return 0, err
	}
	if !more || len(entries) == 0 {
		return 0, nil
	}
	return uint64(entries[0].Seq), nil
}

// Count adds up the heads: sequences are dense. The store's own number of
// entries must be the same.
func (s *engineStore) Count() (uint64, error) {
	n := uint64(0)
	for user := range s.users {
		log := engineLog(user)
		v := s.store.View(s.store.Group(log.Partition()))
		n += uint64(v.Head(log))
		v.Close()
	}
	if entries := s.store.Stats().Entries; uint64(entries) != n {
		return 0, errWrongData{fmt.Sprintf("the heads say %d messages, the tables hold %d", n, entries)}
	}
	return n, nil
}

func (s *engineStore) Close() error { return s.store.Close() }
