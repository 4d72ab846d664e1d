package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// jetStore is a NATS server inside the process with one stream on disk, a
// subject per user, each message synced before it is acknowledged.
type jetStore struct {
	server *server.Server
	conn   *nats.Conn
	stream jetstream.Stream
	js     jetstream.JetStream
}

const (
	jetStreamName = "M"
	jetTimeout    = time.Minute
	jetPending    = 8192 // more than there are appenders
)

//tidy:long a server, a connection and a stream, one after the other
func openJetStream(o openOptions) (_ peer, err error) {
	ns, err := server.NewServer(&server.Options{
		ServerName: "bench", DontListen: true, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: o.Dir, SyncAlways: true,
		JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		return nil, err
	}
	s := &jetStore{server: ns}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	go ns.Start()
	if !ns.ReadyForConnections(jetTimeout) {
		return nil, errors.New("the server does not start")
	}
	if s.conn, err = nats.Connect("", nats.InProcessServer(ns)); err != nil {
		return nil, err
	}
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(jetPending)); err != nil {
		return nil, err
	}
	cfg := jetstream.StreamConfig{
		Name: jetStreamName, Subjects: []string{"m.*"}, Storage: jetstream.FileStorage, AllowDirect: true,
	}
	if o.Compress {
		cfg.Compression = jetstream.S2Compression
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*jetTimeout)
	defer cancel()
	s.stream, err = s.js.CreateOrUpdateStream(ctx, cfg)
	return s, err
}

// jetAppender publishes without a request of its own and waits for the ack.
type jetAppender struct{ js jetstream.JetStream }

func (s *jetStore) Appender(int) appender { return jetAppender{s.js} }

func (a jetAppender) Append(user uint32, text []byte) error {
	// The server keeps no slice of ours, but the client may until it has written.
	ack, err := a.js.PublishAsync(jetSubject(user), text)
	if err != nil {
		return err
	}
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return err
	}
}

func jetSubject(user uint32) string { return "m." + strconv.FormatUint(uint64(user), 10) }

func (s *jetStore) Settle(stop <-chan struct{}) error { return waitQuiet(stop, time.Second) }
func (s *jetStore) Prepare([]uint32)                  {}

// Page reads forwards from a stream sequence: JetStream has no way back. So its
// page is the oldest messages, not the newest.
func (s *jetStore) Page(user uint32, from uint64, limit int, fn func([]byte)) (uint64, error) {
	inbox := s.conn.NewRespInbox()
	sub, err := s.conn.SubscribeSync(inbox)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	request, err := json.Marshal(map[string]any{
		"seq": max(from, 1), "batch": limit, "next_by_subj": jetSubject(user),
	})
	if err != nil {
		return 0, err
	}
	if err := s.conn.PublishRequest("$JS.API.DIRECT.GET."+jetStreamName, inbox, request); err != nil {
		return 0, err
	}
	last, got := uint64(0), 0
	for {
		m, err := sub.NextMsg(jetTimeout)
		if err != nil {
			return 0, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404": // the end of the batch; nothing
			if got < limit {
				return 0, nil
			}
			return last + 1, nil
		default:
			return 0, fmt.Errorf("direct get: %s %s", status, m.Header.Get("Description"))
		}
		fn(m.Data)
		got++
		if last, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
			return 0, err
		}
	}
}

func (s *jetStore) Count() (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), jetTimeout)
	defer cancel()
	info, err := s.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.Msgs, nil
}

func (s *jetStore) Close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	s.server.Shutdown()
	s.server.WaitForShutdown()
	return nil
}
