package main

import (
	"net"

	"github.com/godwit-im/godwit"
	"github.com/lxzan/gws"
)

// gwsServer is lxzan/gws with its own accept loop, a goroutine per connection.
// Its options are the defaults: no compression, messages in order, 4 KiB to read.
type gwsServer struct {
	gws.BuiltinEventHandler
	server *gws.Server
	roster roster[*gws.Conn]
}

func (s *gwsServer) start(spec startSpec) (string, error) {
	s.roster.room(spec.Sessions)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.server = gws.NewServer(s, nil)
	go func() { _ = s.server.RunListener(l) }()
	return l.Addr().String(), nil
}

func (s *gwsServer) stop() {}

// OnOpen keeps the connection for pushes.
func (s *gwsServer) OnOpen(c *gws.Conn) { s.roster.add(c) }

// OnMessage echoes.
func (s *gwsServer) OnMessage(c *gws.Conn, m *gws.Message) {
	_ = c.WriteMessage(m.Opcode, m.Bytes())
	_ = m.Close()
}

func (s *gwsServer) sessions() int { return s.roster.count() }

func (s *gwsServer) push(session int, text []byte) error {
	return s.roster.all[session].WriteMessage(gws.OpcodeBinary, text)
}

func (s *gwsServer) broadcast(text []byte) error {
	b := gws.NewBroadcaster(gws.OpcodeBinary, text)
	for _, c := range s.roster.all {
		if err := b.Broadcast(c); err != nil {
			return err
		}
	}
	return b.Close()
}

func (s *gwsServer) hold()        {}
func (s *gwsServer) lost() uint64 { return 0 }

// textBytes makes a message as long as the same text is as an event of the edge,
// so that both write equally much. gws does not have to encode it.
func (s *gwsServer) textBytes() int { return eventBytes }

// eventBytes is the size of a pushed text as an event of godwit.v1.proto.
var eventBytes = func() int {
	entry := eventOf(1000, newText(pushBytes))
	return len(godwit.AppendEventFrame(nil, godwit.EncodingProto, &entry))
}()
