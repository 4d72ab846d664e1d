package godwit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/godwit-im/godwit/internal/godwitpb"
)

// The oracles read a frame with other people's code: encoding/json for the
// lexing and the descriptor of the generated code for the schema, or the
// generated code itself. What godwit.v1 refuses beyond them is said here, rule
// by rule, and nowhere else.

// verdict is what a reader says of a frame; a graver fault hides a lesser one.
type verdict struct {
	malformed, invalid, unknown bool
	watching                    bool // a list to watch was met, empty or not
}

func (v verdict) err() *Error {
	switch {
	case v.malformed:
		return ErrFrameMalformed
	case v.invalid:
		return ErrFrameInvalid
	case v.unknown:
		return ErrFrameUnknown
	}
	return nil
}

// tree is a JSON value: nil, bool, json.Number, string, []tree or []member.
type tree any

type member struct {
	name  string
	value tree
}

func readTree(d *json.Decoder) (tree, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		array := []tree{}
		for d.More() {
			v, err := readTree(d)
			if err != nil {
				return nil, err
			}
			array = append(array, v)
		}
		_, err = d.Token()
		return array, err
	case json.Delim('{'):
		object := []member{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := readTree(d)
			if err != nil {
				return nil, err
			}
			object = append(object, member{name.(string), v})
		}
		_, err = d.Token()
		return object, err
	}
	return token, nil
}

func depth(v tree) int {
	deepest := 0
	switch v := v.(type) {
	case []tree:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []member:
		for _, m := range v {
			deepest = max(deepest, depth(m.value))
		}
	}
	return 1 + deepest
}

var escapes = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|.)`)

// loneSurrogate finds what encoding/json would replace by U+FFFD.
func loneSurrogate(src []byte) bool {
	end, high := -1, false
	for _, at := range escapes.FindAllIndex(src, -1) {
		r := uint64(0)
		if src[at[0]+1] == 'u' {
			r, _ = strconv.ParseUint(string(src[at[0]+2:at[1]]), 16, 16)
		}
		paired := high && at[0] == end
		low := 0xdc00 <= r && r < 0xe000
		if high && !(paired && low) || low && !paired {
			return true
		}
		end, high = at[1], 0xd800 <= r && r < 0xdc00
	}
	return high
}

// oracleJSON reads src into m.
func oracleJSON(src []byte, m proto.Message) verdict {
	if !utf8.Valid(src) || !json.Valid(src) || loneSurrogate(src) {
		return verdict{malformed: true}
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	root, err := readTree(d)
	if err != nil {
		panic(err)
	}
	var v verdict
	v.object(root, m.ProtoReflect(), true)
	if f, ok := m.(*pb.ClientFrame); ok && v.watching {
		f.Presence.Watching = true
	}
	v.rules(m.ProtoReflect())
	return v
}

func (v *verdict) object(t tree, m protoreflect.Message, frame bool) {
	members, ok := t.([]member)
	if !ok {
		v.malformed = true
		return
	}
	known := m.Descriptor().Fields()
	seen, unknown := map[string]bool{}, false
	for _, member := range members {
		field := known.ByJSONName(member.name)
		if field == nil || seen[member.name] {
			unknown = unknown || field == nil && member.value != nil
			v.invalid = v.invalid || field != nil // a name twice
			v.malformed = v.malformed || depth(member.value) > depthMax
			continue
		}
		seen[member.name] = true
		switch {
		case member.value == nil:
		case field.IsList():
			v.list(member.value, field, m)
		default:
			if value, ok := v.value(member.value, field, m.NewField(field)); ok {
				m.Set(field, value)
			}
		}
	}
	if frame {
		v.unknown = pings(m) && (unknown || m.Get(known.ByNumber(1)).Uint() != 0)
	}
}

func (v *verdict) list(t tree, field protoreflect.FieldDescriptor, m protoreflect.Message) {
	array, ok := t.([]tree)
	if !ok {
		v.malformed = true
		return
	}
	v.watching = v.watching || field.Name() == "watch"
	list := m.NewField(field).List()
	for _, t := range array {
		element := protoreflect.Value{}
		if field.Message() != nil {
			element = list.NewElement()
		}
		if element, ok := v.value(t, field, element); ok {
			list.Append(element)
		}
	}
	m.Set(field, protoreflect.ValueOfList(list))
}

// value converts t; old is the value to fill when the field is a message.
func (v *verdict) value(t tree, field protoreflect.FieldDescriptor, old protoreflect.Value) (protoreflect.Value, bool) {
	switch field.Kind() {
	case protoreflect.MessageKind:
		v.object(t, old.Message(), false)
		return old, true
	case protoreflect.BoolKind:
		b, ok := t.(bool)
		v.malformed = v.malformed || !ok
		return protoreflect.ValueOfBool(b), ok
	case protoreflect.StringKind:
		s, ok := t.(string)
		v.malformed = v.malformed || !ok
		v.invalid = v.invalid || isMID(field) && badMID(s)
		return protoreflect.ValueOfString(s), ok
	case protoreflect.BytesKind:
		s, ok := t.(string)
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		ok = ok && err == nil && !strings.ContainsAny(s, "\r\n")
		v.malformed = v.malformed || !ok
		return protoreflect.ValueOfBytes(b), ok
	}
	number, ok := t.(json.Number)
	v.malformed = v.malformed || !ok
	n, err := strconv.ParseUint(number.String(), 10, 64)
	if ok && (err != nil || n > most(field)) {
		v.invalid = true
	}
	return numberOf(field, n), ok && err == nil
}

func numberOf(field protoreflect.FieldDescriptor, n uint64) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	}
	return protoreflect.ValueOfUint64(n)
}

// most is the largest value the protocol allows in a field of numbers.
func most(field protoreflect.FieldDescriptor) uint64 {
	switch field.Kind() {
	case protoreflect.Uint32Kind:
		return 1<<32 - 1
	case protoreflect.BoolKind:
		return 1<<64 - 1
	}
	return uint64(SeqMax)
}

// isMID tells where ids of messages are read as such; a request's are judged by
// those who look for the message.
func isMID(field protoreflect.FieldDescriptor) bool {
	of := field.ContainingMessage().Name()
	return field.Name() == "mid" && of != "Edit" && of != "Recall"
}

func badMID(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return s != "" && (len(s) != messageIDChars || err != nil || len(b) != 16)
}

// oracleProto reads src into m. loose tells that a message given twice hides
// what is in it, so that only the refusal is certain and not its reason.
func oracleProto(src []byte, m proto.Message) (v verdict, loose bool) {
	if err := proto.Unmarshal(src, m); err != nil {
		v.malformed = true
	}
	loose = v.wire(src, m.ProtoReflect().Descriptor())
	if v.malformed {
		return v, loose
	}
	v.unknown = pings(m.ProtoReflect()) &&
		(len(m.ProtoReflect().GetUnknown()) > 0 || m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByNumber(1)).Uint() != 0)
	v.rules(m.ProtoReflect())
	return v, loose
}

// wire finds what generated code accepts and godwit.v1 doesn't: groups, message
// fields given twice, numbers out of range and bad message ids at any occurrence.
func (v *verdict) wire(src []byte, md protoreflect.MessageDescriptor) (loose bool) {
	seen := map[protowire.Number]bool{}
	for len(src) > 0 {
		number, wire, n := protowire.ConsumeTag(src)
		size := -1
		if n > 0 {
			size = protowire.ConsumeFieldValue(number, wire, src[n:])
		}
		if size < 0 || wire == protowire.StartGroupType {
			v.malformed = true
			return loose
		}
		value := src[n : n+size]
		src = src[n+size:]
		field := md.Fields().ByNumber(number)
		switch {
		case field == nil:
		case wire == protowire.VarintType:
			got, _ := protowire.ConsumeVarint(value)
			v.invalid = v.invalid || classOf(field) == aNumber && got > most(field)
		case wire != protowire.BytesType || classOf(field) == aNumber:
		default:
			content, _ := protowire.ConsumeBytes(value)
			if isMID(field) {
				v.invalid = v.invalid || badMID(string(content))
			}
			if field.Message() != nil {
				if seen[number] && !field.IsList() {
					v.invalid, loose = true, true
				}
				seen[number] = true
				loose = v.wire(content, field.Message()) || loose
			}
		}
	}
	return loose
}

func classOf(field protoreflect.FieldDescriptor) fieldClass {
	switch {
	case field.IsList():
		return aList
	case field.Message() != nil:
		return aMessage
	case field.Kind() == protoreflect.StringKind || field.Kind() == protoreflect.BytesKind:
		return aString
	}
	return aNumber
}

func bodies(m protoreflect.Message) (n int) {
	m.Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if field.Message() != nil {
			n++
		}
		return true
	})
	return n
}

func pings(m protoreflect.Message) bool { return bodies(m) == 0 }
