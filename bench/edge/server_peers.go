package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	gorilla "github.com/gorilla/websocket"
	"github.com/panjf2000/gnet/v2"
)

// serveHTTP starts a net/http server with one handler.
func serveHTTP(handle http.HandlerFunc) (*http.Server, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s := &http.Server{Handler: handle}
	go func() { _ = s.Serve(l) }()
	return s, l.Addr().String(), nil
}

// gorillaServer is gorilla/websocket on net/http; its buffers are those of the
// HTTP server, as by default.
type gorillaServer struct{ http *http.Server }

func (s *gorillaServer) start(startSpec) (addr string, err error) {
	upgrader := gorilla.Upgrader{}
	s.http, addr, err = serveHTTP(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, message, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
	return addr, err
}

func (s *gorillaServer) stop() { _ = s.http.Close() }

// coderServer is coder/websocket on net/http.
type coderServer struct{ http *http.Server }

func (s *coderServer) start(startSpec) (addr string, err error) {
	s.http, addr, err = serveHTTP(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		ctx := context.Background()
		for {
			kind, message, err := c.Read(ctx)
			if err != nil || c.Write(ctx, kind, message) != nil {
				return
			}
		}
	})
	return addr, err
}

func (s *coderServer) stop() { _ = s.http.Close() }

// gobwasServer is gobwas/ws with a goroutine per connection, a buffered reader
// of 4 KiB, and one write per message.
type gobwasServer struct{ listener net.Listener }

func (s *gobwasServer) start(startSpec) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.listener = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go gobwasEcho(c)
		}
	}()
	return l.Addr().String(), nil
}

func (s *gobwasServer) stop() { _ = s.listener.Close() }

func gobwasEcho(c net.Conn) {
	defer c.Close()
	if _, err := ws.Upgrade(c); err != nil {
		return
	}
	reader := bufio.NewReaderSize(c, 4096)
	var payload []byte
	for {
		h, err := ws.ReadHeader(reader)
		if err != nil || h.Length > 1<<20 {
			return
		}
		if int64(cap(payload)) < h.Length {
			payload = make([]byte, h.Length)
		}
		payload = payload[:h.Length]
		if _, err := io.ReadFull(reader, payload); err != nil {
			return
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpClose:
			return
		case ws.OpPing, ws.OpPong:
			continue
		}
		frame, err := ws.CompileFrame(ws.NewFrame(h.OpCode, h.Fin, payload))
		if err != nil {
			return
		}
		if _, err := c.Write(frame); err != nil {
			return
		}
	}
}

// gnetServer is a gnet echo of bytes, without WebSocket: what is under the edge.
type gnetServer struct {
	gnet.BuiltinEventEngine
	engine gnet.Engine
	booted chan struct{}
}

func (s *gnetServer) start(startSpec) (string, error) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := probe.Addr().String()
	if err := probe.Close(); err != nil {
		return "", err
	}
	s.booted = make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- gnet.Run(s, "tcp://"+addr, gnet.WithNumEventLoop(1), gnet.WithTCPNoDelay(gnet.TCPNoDelay))
	}()
	select {
	case <-s.booted:
		return addr, nil
	case err := <-ended:
		return "", err
	}
}

// OnBoot comes after the listener is open.
func (s *gnetServer) OnBoot(e gnet.Engine) gnet.Action {
	s.engine = e
	close(s.booted)
	return gnet.None
}

// OnTraffic echoes.
func (s *gnetServer) OnTraffic(c gnet.Conn) gnet.Action {
	data, _ := c.Next(-1)
	_, _ = c.Write(data)
	return gnet.None
}

func (s *gnetServer) stop() { _ = s.engine.Stop(context.Background()) }
