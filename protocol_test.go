package godwit

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func readProtocolDoc(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// codec is what both directions have in common.
type codec interface {
	Parse(enc Encoding, src []byte) error
	AppendTo(dst []byte, enc Encoding) []byte
}

// Every example of docs/protocol.md is a frame, written exactly so by the
// encoder, and it survives the way through Protobuf. All kinds are shown.
func TestExamplesOfTheProtocolAreWhatIsWritten(t *testing.T) {
	shown := map[string]bool{}
	fenced := regexp.MustCompile("(?s)```json\n(.*?)```")
	for _, block := range fenced.FindAllStringSubmatch(readProtocolDoc(t), -1) {
		for line := range strings.Lines(block[1]) {
			arrow, src, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			client, server := new(ClientFrame), new(ServerFrame)
			var frame, again codec
			switch arrow {
			case "→":
				frame, again = client, new(ClientFrame)
			case "←":
				frame, again = server, new(ServerFrame)
			default:
				t.Fatalf("neither → nor ←: %s", line)
			}
			if err := frame.Parse(EncodingJSON, []byte(src)); err != nil {
				t.Errorf("%s: %v", src, err)
				continue
			}
			if err := again.Parse(EncodingProto, frame.AppendTo(nil, EncodingProto)); err != nil {
				t.Errorf("%s: in Protobuf: %v", src, err)
			}
			for _, f := range []codec{frame, again} {
				if got := f.AppendTo(nil, EncodingJSON); !bytes.Equal(got, []byte(src)) {
					t.Errorf("written differently:\n got %s\nwant %s", got, src)
				}
			}
			shown[fmt.Sprint(arrow, " ", client.Kind|server.Kind)] = true
		}
	}
	for _, kind := range append(clientKinds[2:], KindPing) {
		if !shown[fmt.Sprint("→ ", kind)] {
			t.Errorf("no example of the client's frame %d", kind)
		}
	}
	for _, kind := range append(serverKinds[2:], KindPing) {
		if !shown[fmt.Sprint("← ", kind)] {
			t.Errorf("no example of the server's frame %d", kind)
		}
	}
}

// The tables of docs/protocol.md hold each code once, with its number and
// sentence, and nothing else; and allErrors holds all of errors.go.
func TestProtocolListsEveryErrorCode(t *testing.T) {
	declared, _ := declaredIn(t, "errors.go")
	if len(declared) != len(allErrors) {
		t.Errorf("errors.go declares %d errors, allErrors has %d", len(declared), len(allErrors))
	}
	rows := regexp.MustCompile("(?m)^\\| `[a-z_.]+` \\| \\d{4} \\|.*\n").FindAllString(readProtocolDoc(t), -1)
	if len(rows) != len(allErrors) {
		t.Errorf("%d rows for %d errors", len(rows), len(allErrors))
	}
	codes, numbers := map[string]bool{}, map[uint32]bool{}
	for _, e := range allErrors {
		if codes[e.Code] || numbers[e.Num] {
			t.Errorf("%s or %d is there twice", e.Code, e.Num)
		}
		codes[e.Code], numbers[e.Num] = true, true
		if status := e.Num / 10; status < 400 || status > 599 {
			t.Errorf("%s: %d is not grouped like HTTP", e.Code, e.Num)
		}
		temporary := map[bool]string{true: "yes", false: "no"}[e.Temporary]
		want := fmt.Sprintf("| `%s` | %d | %s | %s |\n", e.Code, e.Num, temporary, e.Message)
		if n := strings.Count(strings.Join(rows, ""), want); n != 1 {
			t.Errorf("%d times in the table: %s", n, want)
		}
		if ErrorOf(e.Code) != e {
			t.Errorf("ErrorOf(%q) finds another", e.Code)
		}
		r := e.Reply(7)
		if r != (ErrorReply{e.Code, e.Num, e.Temporary, 7, e.Message}) || e.Error() != e.Code+": "+e.Message {
			t.Errorf("%s: replied as %+v", e.Code, r)
		}
	}
	if ErrorOf("") != nil {
		t.Error("the empty code names an error")
	}
}

func TestProtocolListsEveryCloseCode(t *testing.T) {
	_, declared := declaredIn(t, "errors.go")
	want := map[string]bool{}
	for name, code := range declared {
		if want[code] || code < "4000" || code > "4399" {
			t.Errorf("%s = %s: out of range, or there twice", name, code)
		}
		want[code] = true
	}
	rows := regexp.MustCompile(`(?m)^\| (4\d{3}) \| .+ \|$`).FindAllStringSubmatch(readProtocolDoc(t), -1)
	for _, row := range rows {
		if !want[row[1]] {
			t.Errorf("row is no close code, or there twice: %s", row[0])
		}
		delete(want, row[1])
	}
	for code := range want {
		t.Errorf("close code %s has no row", code)
	}
	for code, want := range map[CloseCode]string{CloseProtocol: declared["CloseProtocol"], ClosePingTimeout: declared["ClosePingTimeout"]} {
		if strconv.Itoa(int(code)) != want {
			t.Errorf("read %s for %d", want, code)
		}
	}
}

// declaredIn returns the names of the *Error variables of a file and its close
// codes by name: so a new one can't be left out of the tables.
func declaredIn(t *testing.T, path string) (errorNames []string, closeCodes map[string]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	closeCodes = map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "CloseCode" {
			closeCodes[spec.Names[0].Name] = spec.Values[0].(*ast.BasicLit).Value
		}
		if address, ok := spec.Values[0].(*ast.UnaryExpr); ok && address.Op == token.AND {
			errorNames = append(errorNames, spec.Names[0].Name)
		}
		return true
	})
	if len(errorNames) == 0 || len(closeCodes) == 0 {
		t.Fatalf("nothing declared in %s", path)
	}
	return errorNames, closeCodes
}
