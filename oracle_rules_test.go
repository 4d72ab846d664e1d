package godwit

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/godwit-im/godwit/internal/godwitpb"
)

// rules applies what godwit.v1 refuses in a message as a whole.
func (v *verdict) rules(m protoreflect.Message) {
	client := false
	switch m := m.Interface().(type) {
	case *pb.ClientFrame:
		client = true
		v.invalid = v.invalid || bodies(m.ProtoReflect()) > 1
	case *pb.ServerFrame:
		v.invalid = v.invalid || bodies(m.ProtoReflect()) > 1
	case *pb.Connect, *pb.Resume, *pb.Presence, *pb.Group, *pb.People:
		client = true
	case *pb.Skip:
		v.invalid = v.invalid || m.From == 0 || m.To < m.From
	case *pb.Entry:
		place := m.Seq != 0 || m.Gseq != 0
		v.invalid = v.invalid || bodies(m.ProtoReflect()) > 1 || place == (m.Skip != nil)
	case *pb.Ephemeral:
		v.invalid = v.invalid || bodies(m.ProtoReflect()) > 1
		v.unknown = v.unknown || bodies(m.ProtoReflect()) == 0
	case *pb.Message:
		v.invalid = v.invalid || m.Text != nil && m.Data != nil
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList():
			v.invalid = v.invalid || client && value.List().Len() > listMax
			for i := range value.List().Len() {
				if field.Message() != nil {
					v.rules(value.List().Get(i).Message())
				}
			}
		case field.Message() != nil:
			v.rules(value.Message())
		}
		return true
	})
}

// settle brings an accepted frame to the one form in which the codecs write it:
// an unknown kind of entry is a skip of one (but in a channel), a skip in ev is a
// skip frame, a message without body has empty data, a recalled one none.
func settle(f *pb.ServerFrame) {
	if c := f.Connect; c != nil && c.Limits == nil {
		c.Limits = &pb.Limits{}
	}
	if s := f.Send; s != nil {
		settleMID(&s.Mid)
	}
	settleEntry(f.Ev)
	if f.Ev.GetSkip() != nil {
		f.Skip, f.Ev = f.Ev.Skip, nil
	}
	for _, e := range f.Sync.GetEntries() {
		settleEntry(e)
	}
	for _, e := range f.History.GetEntries() {
		settleEntry(e)
	}
	for _, item := range f.Conversations.GetItems() {
		settleEntry(item.Last)
	}
}

func settleEntry(e *pb.Entry) {
	switch {
	case e == nil || e.Skip != nil:
	case e.Msg != nil:
		settleMessage(e.Msg)
	case e.Edit != nil:
		settleMessage(e.Edit)
	case e.Recall != nil:
		m := e.Recall
		e.Recall = &pb.Message{Mid: m.Mid, Conv: m.Conv, From: m.From, Time: m.Time}
		settleMID(&e.Recall.Mid)
	case bodies(e.ProtoReflect()) == 0 && e.Seq != 0:
		e.Skip, e.Seq, e.Gseq = &pb.Skip{From: e.Seq, To: e.Seq}, 0, 0
	}
}

func settleMessage(m *pb.Message) {
	settleMID(&m.Mid)
	switch {
	case m.Recalled:
		m.Text, m.Data = nil, nil
	case m.Text == nil && m.Data == nil:
		m.Data = []byte{}
	}
}

func settleMID(mid *string) {
	if *mid == "" {
		*mid = MessageID{}.String()
	}
}
