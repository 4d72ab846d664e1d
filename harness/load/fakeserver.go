package load

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lxzan/gws"

	"github.com/godwit-im/godwit"
)

// fault is what a fake server does wrong, once, at message faultAt.
type fault string

const (
	faultNone       fault = ""
	faultLoss       fault = "a message acknowledged and lost"
	faultForgotten  fault = "a message delivered and gone from history"
	faultDouble     fault = "a message stored twice"
	faultRepeat     fault = "an entry delivered twice"
	faultReorder    fault = "two messages exchanged"
	faultGap        fault = "a sequence left out"
	faultForgery    fault = "a text changed on the way"
	faultRefusal    fault = "a message refused and stored nevertheless"
	faultHalfStored fault = "a message missing from the sender's own log"
	faultResume     fault = "an entry left out of a replay"
	faultRetry      fault = "a message that had to be sent again stored twice"
	faultNoAnswer   fault = "an answer that never came, and all well after a reconnect"
	faultNode       fault = "a session told to be on an edge process that doesn't hold it"
	faultOneNode    fault = "an edge process that gets all sessions, and one that gets none"
	faultDeafPoll   fault = "a held poll that is never answered"
	faultFull       fault = "a server that lets nobody in any more"
	faultStray      fault = "a message in the log of somebody it was not sent to"
)

const (
	faultAt     = 200
	fakeRoom    = 25 // sessions of a server that is full then
	faultNodeAt = 7  // which session is told the wrong edge process
	pageMax     = 100
)

// fakeServer speaks as much godwit.v1 as the generator asks for, keeps its logs
// in memory, and does wrong what it is told to: what a load generator must
// notice is tried on it.
type fakeServer struct {
	fault fault
	at    int // which of their messages goes wrong

	listener net.Listener
	web      *http.Server
	served   sync.WaitGroup

	mu      sync.Mutex
	logs    map[string]*fakeLog
	conns   map[*gws.Conn]string
	ended   chan struct{}
	nodes   map[*gws.Conn]int      // on which of fakeNodes a session is
	opened  int                    // connects
	sends   int                    // of those whose messages may go wrong
	numbers int                    // messages
	held    *godwit.Entry          // faultReorder: waits for the sender's next message
	only    func(user string) bool // whose messages may go wrong; nil: everybody's
}

// fakeLog is one user's.
type fakeLog struct {
	entries []godwit.Entry
	hidden  godwit.Seq // faultForgotten: not shown in history
	omitted godwit.Seq // faultResume: not replayed
	seq     godwit.Seq
	conn    *gws.Conn
	stored  map[string]godwit.Entry // what the owner sent, by client id
}

func startFakeServer(f fault) (*fakeServer, error) {
	s := &fakeServer{fault: f, at: faultAt, logs: map[string]*fakeLog{}, conns: map[*gws.Conn]string{}, nodes: map[*gws.Conn]int{}, ended: make(chan struct{})}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("fake server: %w", err)
	}
	upgrader := gws.NewUpgrader(&fakeHandler{server: s}, &gws.ServerOption{
		SubProtocols: []string{godwit.EncodingProto.Subprotocol()}, ReadMaxPayloadSize: 1 << 20,
	})
	s.web = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/edges" {
			_ = json.NewEncoder(w).Encode(s.edgeProcesses())
		} else if r.URL.Path == pollPath {
			s.poll(w, r)
		} else if conn, err := upgrader.Upgrade(w, r); err == nil {
			s.served.Go(conn.ReadLoop)
		}
	})}
	s.served.Go(func() { _ = s.web.Serve(s.listener) })
	return s, nil
}

func (s *fakeServer) url() string { return "ws://" + s.listener.Addr().String() + "/v1/ws" }

// poll answers a long-poll at once without a cursor, and with one when its time
// is over.
func (s *fakeServer) poll(w http.ResponseWriter, r *http.Request) {
	var body []byte
	query := r.URL.Query()
	if query.Get("c") == "" {
		reply := godwit.ServerFrame{Kind: godwit.KindConnect, Connect: godwit.ConnectReply{Epoch: "fake", Node: fakeNodes[0]}}
		body = reply.AppendFrameTo(nil, godwit.EncodingProto)
	} else {
		seconds, _ := strconv.Atoi(query.Get("wait"))
		wait := time.Duration(seconds) * time.Second
		s.mu.Lock()
		if s.opened++; s.fault == faultDeafPoll && s.opened == faultNodeAt {
			wait = time.Hour
		}
		s.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-s.ended:
		}
	}
	end := godwit.ServerFrame{Kind: godwit.KindPoll, Poll: godwit.Poll{Cursor: "fake.0"}}
	body = end.AppendFrameTo(body, godwit.EncodingProto)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// fakeNodes are the edge processes it pretends to have.
var fakeNodes = [2]string{"fake-1", "fake-2"}

func (s *fakeServer) edges() string { return "http://" + s.listener.Addr().String() + "/v1/edges" }

// edgeProcesses is what it says of them.
func (s *fakeServer) edgeProcesses() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := [len(fakeNodes)]int{}
	for _, node := range s.nodes {
		held[node]++
	}
	var list []map[string]any
	for i, name := range fakeNodes {
		list = append(list, map[string]any{"index": i + 1, "node": name, "pid": os.Getpid(), "sessions": held[i]})
	}
	return list
}

// numberOf is the number that a run's user has behind its last hyphen.
func numberOf(user string) (n int, ok bool) {
	n, err := strconv.Atoi(user[strings.LastIndexByte(user, '-')+1:])
	return n, err == nil
}

// nodeLocked puts a session on an edge process and returns the name it is told. It
// goes by the user's number: of pairs of neighbours two thirds are on both processes,
// in whatever order they connect.
func (s *fakeServer) nodeLocked(conn *gws.Conn, user string) string {
	s.opened++
	n, _ := numberOf(user)
	node := n % 3 % len(fakeNodes)
	if s.fault == faultOneNode {
		node = 0
	}
	s.nodes[conn] = node
	if s.fault == faultNode && s.opened == faultNodeAt {
		node ^= 1
	}
	return fakeNodes[node]
}

// stall holds everything up for a while, as a long garbage collection or a
// slow disk would.
func (s *fakeServer) stall(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	time.Sleep(d)
}

func (s *fakeServer) close() {
	_ = s.listener.Close()
	close(s.ended)
	_ = s.web.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.NetConn().Close()
	}
	s.mu.Unlock()
	s.served.Wait()
}

type fakeHandler struct {
	gws.BuiltinEventHandler
	server *fakeServer
}

func (h *fakeHandler) OnClose(conn *gws.Conn, _ error) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	delete(h.server.conns, conn)
	delete(h.server.nodes, conn)
}

func (h *fakeHandler) OnMessage(conn *gws.Conn, message *gws.Message) {
	defer message.Close()
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	var f godwit.ClientFrame
	for rest := message.Bytes(); len(rest) > 0; {
		frame, left, err := godwit.NextFrame(godwit.EncodingProto, rest)
		if err == nil {
			err = f.Parse(godwit.EncodingProto, frame)
		}
		if err != nil {
			_ = conn.NetConn().Close()
			return
		}
		rest = left
		h.server.handleLocked(conn, &f)
	}
}

func write(conn *gws.Conn, f *godwit.ServerFrame) {
	if conn != nil {
		_ = conn.WriteMessage(gws.OpcodeBinary, f.AppendFrameTo(nil, godwit.EncodingProto))
	}
}

func (s *fakeServer) logLocked(user string) *fakeLog {
	if s.logs[user] == nil {
		s.logs[user] = &fakeLog{stored: map[string]godwit.Entry{}}
	}
	return s.logs[user]
}

func (s *fakeServer) handleLocked(conn *gws.Conn, f *godwit.ClientFrame) {
	switch f.Kind {
	case godwit.KindConnect:
		s.connectLocked(conn, f)
	case godwit.KindSend:
		s.sendLocked(conn, f)
	case godwit.KindHistory:
		reply := godwit.ServerFrame{ID: f.ID, Kind: godwit.KindHistory}
		log, page := s.logLocked(s.conns[conn]), int(f.History.Limit)
		if page == 0 || page > pageMax {
			page = pageMax
		}
		for i := range log.entries {
			e := log.entries[i]
			if e.Seq <= f.History.After || e.Seq == log.hidden {
				continue
			}
			if len(reply.History.Entries) == page {
				reply.History.More = true
				break
			}
			reply.History.Entries = append(reply.History.Entries, e)
		}
		write(conn, &reply)
	case godwit.KindSync:
		log := s.logLocked(s.conns[conn])
		reply := godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSync, Sync: godwit.SyncReply{Head: log.seq}}
		for i := range log.entries {
			if e := &log.entries[i]; e.Seq > f.Sync.Since && e.Seq != log.hidden && len(reply.Sync.Entries) < pageMax {
				reply.Sync.Entries = append(reply.Sync.Entries, *e)
			}
		}
		write(conn, &reply)
	}
}

// userOf believes every token: a name, or a JWT of one.
func userOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return token
	}
	var claims struct {
		Sub string `json:"sub"`
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	_ = json.Unmarshal(text, &claims)
	return claims.Sub
}

// connectLocked opens a session, and replays what a resume asks for.
func (s *fakeServer) connectLocked(conn *gws.Conn, f *godwit.ClientFrame) {
	if s.fault == faultFull && len(s.conns) >= fakeRoom {
		_ = conn.NetConn().Close()
		return
	}
	user := userOf(string(f.Connect.Token))
	s.conns[conn] = user
	log := s.logLocked(user)
	log.conn = conn
	reply := godwit.ServerFrame{ID: f.ID, Kind: godwit.KindConnect}
	reply.Connect = godwit.ConnectReply{
		Node: s.nodeLocked(conn, user), Epoch: "fake", Seq: log.seq, Resumed: f.Connect.Resume.Set, Ping: 25, User: godwit.UserID(user),
		Limits: godwit.Limits{Frame: 64 << 10, Body: 16 << 10, InFlight: 64, Page: pageMax, Window: 512},
	}
	write(conn, &reply)
	if !f.Connect.Resume.Set {
		return
	}
	for _, e := range log.entries {
		if e.Seq <= f.Connect.Resume.Seq {
			continue
		}
		if e.Seq == log.omitted {
			continue
		}
		write(conn, &godwit.ServerFrame{Kind: godwit.KindEvent, Event: e})
	}
	write(conn, &godwit.ServerFrame{Kind: godwit.KindResumed, Resumed: godwit.Resumed{Seq: log.seq}})
}

// struck reports whether the message that goes wrong has come.
func (s *fakeServer) struck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sends >= s.at
}

func (s *fakeServer) mayGoWrong(user string) bool { return s.only == nil || s.only(user) }

// sendLocked stores a message in both logs, unless it is the one to go wrong.
func (s *fakeServer) sendLocked(conn *gws.Conn, f *godwit.ClientFrame) {
	from, to := s.conns[conn], string(f.Send.To)
	if e, again := s.logLocked(from).stored[string(f.Send.CID)]; again {
		write(conn, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend, Send: godwit.SendReply{State: godwit.StateStored, Seq: e.Seq, MID: e.Msg.MID, Dup: true}})
		return
	}
	wrong := faultNone
	if s.mayGoWrong(from) {
		if s.sends++; s.sends == s.at {
			wrong = s.fault
		}
	}
	s.numbers++
	e := godwit.Entry{Msg: godwit.Message{
		MID:  godwit.MessageID{byte(s.numbers >> 24), byte(s.numbers >> 16), byte(s.numbers >> 8), byte(s.numbers)},
		From: []byte(from), CID: append([]byte(nil), f.Send.CID...), Body: append([]byte(nil), f.Send.Text...), Text: true,
	}}
	own, theirs := s.logLocked(from), s.logLocked(to)
	if wrong != faultHalfStored {
		own.add(e, "u:"+to)
	}
	stored := e
	stored.Seq = own.seq
	if wrong != faultRetry {
		own.stored[string(f.Send.CID)] = stored
	}
	if wrong == faultStray {
		if other := s.idleLocked(from, to); other != nil {
			other.seq++ // kept from its owner: only its head tells
		}
	}
	s.deliverLocked(theirs, e, from, wrong)
	if wrong == faultRetry || wrong == faultNoAnswer {
		_ = conn.NetConn().Close()
		return
	}
	if wrong == faultRefusal {
		write(conn, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindError, Error: godwit.ErrRateLimited.Reply(0)})
		return
	}
	write(conn, &godwit.ServerFrame{ID: f.ID, Kind: godwit.KindSend, Send: godwit.SendReply{State: godwit.StateStored, Seq: own.seq, MID: e.Msg.MID}})
}

// idleLocked returns the log of somebody else who sent and got nothing.
func (s *fakeServer) idleLocked(from, to string) *fakeLog {
	for user, log := range s.logs {
		if user != from && user != to && log.seq == 0 {
			return log
		}
	}
	return nil
}

func (s *fakeServer) deliverLocked(log *fakeLog, e godwit.Entry, from string, wrong fault) {
	switch wrong {
	case faultLoss:
		return
	case faultReorder:
		s.held = &e
		return
	case faultGap:
		log.seq++
	case faultForgery:
		e.Msg.Body = append([]byte(nil), e.Msg.Body...)
		e.Msg.Body[len(e.Msg.Body)-1] ^= 1
	}
	if wrong == faultResume && log.conn != nil { // so that there is something to replay
		_ = log.conn.NetConn().Close()
		log.conn, log.omitted = nil, log.seq+1
	}
	log.add(e, "u:"+from)
	switch {
	case wrong == faultForgotten:
		log.hidden = log.seq
	case wrong == faultDouble:
		log.add(e, "u:"+from)
	case wrong == faultRepeat:
		write(log.conn, &godwit.ServerFrame{Kind: godwit.KindEvent, Event: log.entries[len(log.entries)-1]})
	case s.held != nil && string(s.held.Msg.From) == from:
		held := *s.held
		s.held = nil
		log.add(held, "u:"+from)
	}
}

// add appends an entry and pushes it.
func (l *fakeLog) add(e godwit.Entry, conv string) {
	l.seq++
	e.Seq, e.Msg.Conv = l.seq, []byte(conv)
	l.entries = append(l.entries, e)
	write(l.conn, &godwit.ServerFrame{Kind: godwit.KindEvent, Event: e})
}
