package godwit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// goNames are the fields of Go whose names are not those on the wire.
var goNames = map[string]string{
	"ServerFrame.ev": "Event", "ServerFrame.eph": "Ephemeral", "ServerFrame.device": "Devices", "ServerFrame.block": "People", "ServerFrame.contact": "People",
	"Entry.edit": "Msg", "Entry.recall": "Msg", "Message.text": "Body", "Message.data": "Body",
}

// Each value stands in the field of its name. Encoder and decoder could swap two
// fields alike, and no round trip nor oracle would see it.
func TestFieldsAreCalledWhatTheyHold(t *testing.T) {
	check := func(frame any, src []byte) {
		d := json.NewDecoder(bytes.NewReader(src))
		d.UseNumber()
		root, err := readTree(d)
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, root.([]member), reflect.ValueOf(frame))
	}
	for _, frame := range clientFrames() {
		check(frame, frame.AppendTo(nil, EncodingJSON))
	}
	for _, frame := range serverFrames() {
		check(frame, frame.AppendTo(nil, EncodingJSON))
	}
}

func checkNames(t *testing.T, members []member, v reflect.Value) {
	t.Helper()
	v = reflect.Indirect(v)
	for _, m := range members {
		if v.Type().Name() == "Entry" && m.name == "skip" {
			continue // its two numbers are Seq and SkipTo
		}
		field := v.FieldByName(goNames[v.Type().Name()+"."+m.name])
		if !field.IsValid() {
			want := strings.ReplaceAll(m.name, "_", "")
			field = v.FieldByNameFunc(func(name string) bool { return strings.ToLower(name) == want })
		}
		if !field.IsValid() {
			t.Errorf("%s has no field for %q", v.Type(), m.name)
			continue
		}
		checkValue(t, v.Type().Name()+"."+m.name, m.value, field)
	}
}

func checkValue(t *testing.T, name string, got tree, v reflect.Value) {
	t.Helper()
	switch got := got.(type) {
	case []member:
		checkNames(t, got, v)
		return
	case []tree:
		if len(got) != v.Len() {
			t.Errorf("%s: %d elements, want %d", name, len(got), v.Len())
			return
		}
		for i := range got {
			checkValue(t, name, got[i], v.Index(i))
		}
		return
	}
	want := v.Interface()
	if b, ok := want.([]byte); ok {
		want = string(b)
		if strings.HasSuffix(name, ".data") {
			want = base64.StdEncoding.EncodeToString(b)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}
