package client

import (
	"net/http"
	"time"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// modelSocket is the server's end of a WebSocket.
type modelSocket struct {
	gws.BuiltinEventHandler
	m       *model
	enc     godwit.Encoding
	session *modelSession
	pushed  godwit.Seq
}

func (m *model) webSocket(w http.ResponseWriter, r *http.Request) {
	enc, ok := godwit.EncodingOf(r.Header.Get("Sec-WebSocket-Protocol"))
	if !ok {
		m.refuse(w, http.StatusBadRequest, godwit.ErrFrameInvalid, 0)
		return
	}
	s := &modelSocket{m: m, enc: enc}
	conn, err := gws.NewUpgrader(s, &gws.ServerOption{SubProtocols: []string{enc.Subprotocol()}}).Upgrade(w, r)
	if err != nil {
		return
	}
	s.session = &modelSession{socket: conn, ended: make(chan struct{})}
	go conn.ReadLoop()
}

func (s *modelSocket) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (s *modelSocket) OnClose(*gws.Conn, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	select {
	case <-s.session.ended:
	default:
		close(s.session.ended)
	}
}

func (s *modelSocket) OnMessage(c *gws.Conn, message *gws.Message) {
	defer message.Close()
	m := s.m
	for _, f := range m.parse(s.enc, message.Bytes()) {
		if m.upgraded != nil && m.upgraded(&f) {
			continue
		}
		switch f.Kind {
		case godwit.KindConnect:
			m.mu.Lock()
			m.replaceLocked(string(f.Connect.Device), s.session)
			reply := m.connectLocked()
			reply.ID = f.ID
			s.pushed = m.headLocked()
			if resume := f.Connect.Resume; resume.Set && string(resume.Epoch) == m.epoch && resume.Seq <= m.headLocked() {
				reply.Connect.Resumed, s.pushed = true, resume.Seq
			} else if resume.Set {
				reply.Connect.Reason = "epoch"
			}
			m.mu.Unlock()
			s.send(reply)
			go s.push()
		case godwit.KindAck:
			if f.Ack.Seq > godwit.SeqMax {
				m.t.Errorf("ack %d", f.Ack.Seq)
			}
		case godwit.KindPing:
		default:
			m.mu.Lock()
			reply := m.commandLocked(&f)
			m.mu.Unlock()
			s.send(reply)
		}
	}
}

func (s *modelSocket) send(f godwit.ServerFrame) {
	opcode := gws.OpcodeBinary
	if s.enc.Text() {
		opcode = gws.OpcodeText
	}
	_ = s.session.socket.WriteMessage(opcode, f.AppendFrameTo(nil, s.enc))
}

// push writes the log on until the session ends.
func (s *modelSocket) push() {
	for {
		s.m.mu.Lock()
		turn, news := s.m.turn, s.m.log[s.pushed:]
		s.m.mu.Unlock()
		for _, e := range news {
			s.pushed = e.Seq
			s.send(godwit.ServerFrame{Kind: godwit.KindEvent, Event: e})
		}
		select {
		case <-turn:
		case <-time.After(25 * time.Second):
			s.send(godwit.ServerFrame{Kind: godwit.KindPing})
		case <-s.session.ended:
			return
		}
	}
}
