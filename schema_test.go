package godwit

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/godwit-im/godwit/internal/godwitpb"
)

//tidy:long a row for each message of the schema
func TestTablesEqualTheSchema(t *testing.T) {
	described := map[protoreflect.Name]bool{}
	f := func(m proto.Message, table fields) {
		t.Helper()
		md := m.ProtoReflect().Descriptor()
		described[md.Name()] = true
		if md.Fields().Len() != len(table)-1 {
			t.Errorf("%s has %d fields, the table %d", md.Name(), md.Fields().Len(), len(table)-1)
		}
		for i := range md.Fields().Len() {
			field := md.Fields().Get(i)
			want := field.JSONName()
			if n := int(field.Number()); n >= len(table) || table[n].name != want || table[n].class != classOf(field) {
				t.Errorf("%s: field %d is %s of class %d, not as in the table", md.Name(), n, want, classOf(field))
			}
			if field.Number() > 31 {
				t.Errorf("%s.%s: the decoder keeps what it has met in 32 bits", md.Name(), want)
			}
		}
	}
	f(&pb.ClientFrame{}, clientFields)
	f(&pb.Connect{}, connectFields)
	f(&pb.Resume{}, resumeFields)
	f(&pb.Send{}, sendFields)
	f(&pb.Sync{}, syncFields)
	f(&pb.History{}, historyFields)
	f(&pb.Conversations{}, conversationsFields)
	f(&pb.Ack{}, ackFields)
	f(&pb.Presence{}, presenceFields)
	f(&pb.ServerFrame{}, serverFields)
	f(&pb.ConnectReply{}, connectReplyFields)
	f(&pb.Limits{}, limitsFields)
	f(&pb.SendReply{}, sendReplyFields)
	f(&pb.SyncReply{}, syncReplyFields)
	f(&pb.HistoryReply{}, historyReplyFields)
	f(&pb.ConversationsReply{}, conversationsReplyFields)
	f(&pb.ConversationItem{}, conversationItemFields)
	f(&pb.PresenceReply{}, presenceReplyFields)
	f(&pb.PresenceItem{}, presenceItemFields)
	f(&pb.Entry{}, entryFields)
	f(&pb.Message{}, messageFields)
	f(&pb.Error{}, errorFields)
	f(&pb.Skip{}, skipFields)
	f(&pb.Resumed{}, resumedFields)
	f(&pb.Goaway{}, goawayFields)
	f(&pb.Refresh{}, refreshFields)
	f(&pb.RefreshReply{}, refreshReplyFields)
	f(&pb.Poll{}, pollFields)
	f(&pb.ChannelPlace{}, channelPlaceFields)
	f(&pb.Mark{}, markFields)
	f(&pb.Typing{}, typingFields)
	f(&pb.Group{}, groupFields)
	f(&pb.Edit{}, editFields)
	f(&pb.Recall{}, recallFields)
	f(&pb.Device{}, deviceFields)
	f(&pb.People{}, peopleFields)
	f(&pb.ConversationChange{}, conversationChangeFields)
	f(&pb.Done{}, doneFields)
	f(&pb.GroupReply{}, groupReplyFields)
	f(&pb.Member{}, memberFields)
	f(&pb.GroupItem{}, groupItemFields)
	f(&pb.DevicesReply{}, devicesReplyFields)
	f(&pb.DeviceItem{}, deviceItemFields)
	f(&pb.PeopleReply{}, peopleReplyFields)
	f(&pb.Ephemeral{}, ephemeralFields)
	f(&pb.TypingNotice{}, typingNoticeFields)
	f(&pb.ChannelStart{}, channelStartFields)
	f(&pb.Receipt{}, receiptFields)
	f(&pb.GroupChange{}, groupChangeFields)
	f(&pb.ConversationSettings{}, conversationSettingsFields)
	messages := pb.File_godwit_proto.Messages()
	for i := range messages.Len() {
		if name := messages.Get(i).Name(); !described[name] {
			t.Errorf("message %s has no table", name)
		}
	}
}

var protoLine = regexp.MustCompile(`^  (repeated |optional )?(\w+) (\w+) = (\d+)( \[json_name = "(\w+)"\])?;`)

// The generated code is made of godwit.proto as it stands: every field line of
// the file is in the descriptor, and none more.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	source, err := os.ReadFile("godwit.proto")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	name := ""
	for line := range strings.Lines(string(source)) {
		if rest, ok := strings.CutPrefix(line, "message "); ok {
			name, _, _ = strings.Cut(rest, " ")
		} else if m := protoLine.FindStringSubmatch(line); m != nil {
			json := m[6]
			if json == "" {
				json = m[3]
			}
			want = append(want, strings.Join([]string{name, m[1] + m[2], m[3], m[4], json}, " "))
		} else if strings.Contains(line, "=") && !strings.HasPrefix(line, "//") && !strings.HasPrefix(line, "syntax") && !strings.HasPrefix(line, "option") {
			t.Errorf("line not understood: %s", line)
		}
	}
	if got := describe(pb.File_godwit_proto); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("generate internal/godwitpb again: it has\n%s\nand godwit.proto\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// describe lists a file's fields as godwit.proto writes them.
func describe(file protoreflect.FileDescriptor) (lines []string) {
	for i := range file.Messages().Len() {
		md := file.Messages().Get(i)
		for j := range md.Fields().Len() {
			field := md.Fields().Get(j)
			kind := field.Kind().String()
			if field.Message() != nil {
				kind = string(field.Message().Name())
			}
			switch {
			case field.IsList():
				kind = "repeated " + kind
			case field.HasOptionalKeyword():
				kind = "optional " + kind
			}
			number := protoreflect.ValueOfInt32(int32(field.Number())).String()
			lines = append(lines, strings.Join([]string{string(md.Name()), kind, string(field.Name()), number, field.JSONName()}, " "))
		}
	}
	return lines
}
