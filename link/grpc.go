package link

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

// The service, as gRPC sees it: messages are bytes, and what they mean stands in
// item.go and handshake.go.
const (
	serviceName  = "godwit.link.v1.Link"
	attachMethod = "/" + serviceName + "/Attach"
	issueMethod  = "/" + serviceName + "/IssueTicket"
	redeemMethod = "/" + serviceName + "/RedeemTicket"
)

const (
	messageBytesMax = 96 << 20 // no item is larger: pages and their bodies are bounded
	windowBytes     = 1 << 20  // in flight in each direction of a stream
	socketBytes     = 64 << 10
)

// Either side looks after a silent peer: one that is stopped but whose socket is
// open holds its sessions' routes until then. The client's minimum is gRPC's.
var (
	hubKeepalive    = keepalive.ServerParameters{Time: 5 * time.Second, Timeout: 5 * time.Second}
	hubPolicy       = keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}
	clientKeepalive = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}
)

// message is what goes through gRPC: to be sent, data from pool (or nil); as
// received, buffer, to be freed.
type message struct {
	data   *[]byte
	pool   *batches
	buffer mem.Buffer
}

func newMessage(b []byte) *message { return &message{data: &b} }

// bytes is what was received; it dies with free.
func (m *message) bytes() []byte { return m.buffer.ReadOnlyData() }

func (m *message) free() {
	if m.buffer != nil {
		m.buffer.Free()
		m.buffer = nil
	}
}

// codec hands bytes to gRPC as they are, without a copy.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("link: %T is no message", v)
	}
	if m.pool == nil {
		return mem.BufferSlice{mem.SliceBuffer(*m.data)}, nil
	}
	return mem.BufferSlice{mem.NewBuffer(m.data, m.pool)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("link: %T is no message", v)
	}
	m.free()
	m.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "godwit" }

// service is what ServiceDesc wants an implementation to be.
type service interface {
	attach(stream grpc.ServerStream) error
	issueTicket(ctx context.Context, request []byte) ([]byte, error)
	redeemTicket(ctx context.Context, request []byte) ([]byte, error)
}

var serviceDesc = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*service)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "IssueTicket", Handler: unary(service.issueTicket)},
		{MethodName: "RedeemTicket", Handler: unary(service.redeemTicket)},
	},
	Streams: []grpc.StreamDesc{{
		StreamName:    "Attach",
		ServerStreams: true,
		ClientStreams: true,
		Handler:       func(srv any, stream grpc.ServerStream) error { return srv.(service).attach(stream) },
	}},
}

var attachDesc = &grpc.StreamDesc{StreamName: "Attach", ServerStreams: true, ClientStreams: true}

func unary(call func(service, context.Context, []byte) ([]byte, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var request message
		if err := decode(&request); err != nil {
			return nil, err
		}
		defer request.free()
		answer, err := call(srv.(service), ctx, request.bytes())
		if err != nil {
			return nil, err
		}
		return newMessage(answer), nil
	}
}

func newServer(alive keepalive.ServerParameters, creds *transport) *grpc.Server {
	return grpc.NewServer(
		grpc.Creds(creds),
		grpc.ForceServerCodecV2(codec{}), grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(alive), grpc.KeepaliveEnforcementPolicy(hubPolicy),
		grpc.InitialWindowSize(windowBytes), grpc.InitialConnWindowSize(windowBytes),
		grpc.ReadBufferSize(socketBytes), grpc.WriteBufferSize(socketBytes),
		grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax),
		grpc.MaxConcurrentStreams(1024), grpc.ConnectionTimeout(10*time.Second),
	)
}
