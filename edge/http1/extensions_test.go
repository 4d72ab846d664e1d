package http1

import (
	"strings"
	"testing"
)

// offerOf is the line of an upgrade's answer that agrees to an extension; "":
// none, "400": refused.
func offerOf(t *testing.T, fields ...string) string {
	t.Helper()
	var lines []string
	for _, f := range fields {
		lines = append(lines, "Sec-WebSocket-Extensions: "+f)
	}
	h, err := upgrade(t, upgradeHead("", strings.Join(lines, "\r\n")))
	if err != nil {
		if err != ErrExtensions {
			t.Fatalf("%q: %v", fields, err)
		}
		return "400"
	}
	h.Deflate.Agreed = h.Deflate.WindowBits != 0
	for line := range strings.SplitSeq(string(AppendUpgradeResponse(nil, &h)), "\r\n") {
		if value, ok := strings.CutPrefix(line, "Sec-WebSocket-Extensions: "); ok {
			return value
		}
	}
	return ""
}

const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

func TestDeflateOffersAreAcceptedOrDeclinedAsTheRFCSays(t *testing.T) {
	f := func(want string, fields ...string) {
		t.Helper()
		if got := offerOf(t, fields...); got != want {
			t.Errorf("%q: got %q, want %q", fields, got, want)
		}
	}
	f(agreed, "permessage-deflate")
	f(agreed, "permessage-deflate; client_max_window_bits")
	f(agreed, "permessage-deflate; client_max_window_bits=10")
	f(agreed, `permessage-deflate;client_max_window_bits="8"`)
	f(agreed, "permessage-deflate ; server_no_context_takeover;\tclient_no_context_takeover")
	f(agreed+"; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15")
	f(agreed+"; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10")
	f(agreed+"; server_max_window_bits=9", `permessage-deflate; server_max_window_bits="\9"`)
	f(agreed+"; server_max_window_bits=8", "permessage-deflate; server_max_window_bits = 8 ; client_max_window_bits")

	// Declined, without an answer.
	for _, params := range []string{
		"server_no_context_takeover=1", "client_no_context_takeover=true", `server_no_context_takeover="1"`,
		"server_max_window_bits", "server_max_window_bits=7", "server_max_window_bits=16", "server_max_window_bits=08", "server_max_window_bits=1a",
		"server_max_window_bits=015", "server_max_window_bits=05", "client_max_window_bits=02", "server_max_window_bits=-8", "server_max_window_bits=100", "server_max_window_bits=0",
		"client_max_window_bits=7", "client_max_window_bits=16", "client_max_window_bits=010", "client_max_window_bits=x",
		"server_no_context_takeover; server_no_context_takeover", "client_no_context_takeover; client_no_context_takeover",
		"server_max_window_bits=10; server_max_window_bits=10", "client_max_window_bits; client_max_window_bits=15",
		"unknown", "unknown=1", "client_max_window_bits; unknown", "SERVER_NO_CONTEXT_TAKEOVER",
	} {
		f("", "permessage-deflate; "+params)
		f(agreed, "permessage-deflate; "+params+", permessage-deflate")
		f(agreed+"; server_max_window_bits=12", "permessage-deflate; "+params, "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=12, permessage-deflate")
	}
	f("", "x-webkit-deflate-frame")
	f("", `bar; baz=2, foo; a="b"`)
	f("", "permessage-bzip2; client_max_window_bits, Permessage-Deflate")
	f(agreed, ", ,permessage-deflate,,")

	// Malformed: the connection fails (RFC 6455 section 9.1).
	for _, field := range []string{
		"", ",", ";", "permessage-deflate;", "permessage-deflate; =1", "permessage-deflate; a=", "permessage-deflate; a b", "permessage-deflate foo",
		`permessage-deflate; a="`, `permessage-deflate; a="b`, `permessage-deflate; a="b\`, `permessage-deflate; a=""`, `permessage-deflate; a="b c"`,
		`permessage-deflate; a="b,c"`, `permessage-deflate; a="b;c"`, `permessage-deflate; a="b"c`, "perme(ssage-deflate", "foo=1", "a; b, ; c", "a/b", "permessage-deflate; a=b=c",
	} {
		f("400", field)
		f("400", "permessage-deflate", field)
		if field != "" {
			f("400", "permessage-deflate, x"+strings.TrimPrefix(field, ",")+" @")
		}
	}
}

func TestUpgradeResponseNamesNoExtensionThatIsNotWanted(t *testing.T) {
	h, err := upgrade(t, browserHead)
	if err != nil || h.Deflate.WindowBits != 15 {
		t.Fatalf("%+v, %v", h.Deflate, err)
	}
	if got := string(AppendUpgradeResponse(nil, &h)); strings.Contains(got, "Extensions") {
		t.Fatal(got)
	}
}

// FuzzExtensions checks the scanner against a slow reading of the same grammar.
func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=10, permessage-deflate", `a; b="c\"d", permessage-deflate; client_max_window_bits="9"`,
		", ,permessage-deflate;server_no_context_takeover", "permessage-deflate; server_max_window_bits=08", "a b", ";", "a;b=;c", "permessage-deflate\t;\tserver_max_window_bits\t=\t\"15\"\t,",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		r := Request{}
		r.headers[0] = Header{Name: []byte("Sec-WebSocket-Extensions"), Value: []byte(field)}
		r.count = 1
		if !isValue([]byte(field)) {
			return // no head with it gets here
		}
		before := strings.Clone(field)
		got, err := chooseDeflate(&r)
		want, ok := slowOffers(field)
		if string(r.headers[0].Value) != before {
			t.Fatal("the window was modified")
		}
		if (err == nil) != ok || got != want {
			t.Fatalf("%q: got %+v, %v; want %+v, %v", field, got, err, want, ok)
		}
		if got.WindowBits != 0 && (got.WindowBits < 8 || got.WindowBits > 15) {
			t.Fatalf("%+v", got)
		}
	})
}

// slowOffers splits at separators outside of quotes first, and looks at the parts later.
func slowOffers(field string) (chosen Deflate, ok bool) {
	elements, sound := splitOutside(field, ',')
	if !sound {
		return Deflate{}, false
	}
	any := false
	for _, element := range elements {
		if strings.Trim(element, " \t") == "" {
			continue
		}
		any = true
		parts, _ := splitOutside(element, ';')
		name := strings.Trim(parts[0], " \t")
		if !isToken(name) {
			return Deflate{}, false
		}
		values := map[string]string{}
		good := name == "permessage-deflate"
		for _, part := range parts[1:] {
			key, value, given := strings.Cut(part, "=")
			key, value = strings.Trim(key, " \t"), strings.Trim(value, " \t")
			if strings.HasPrefix(value, `"`) {
				if len(value) < 2 || value[len(value)-1] != '"' {
					return Deflate{}, false
				}
				value = unescape(value[1 : len(value)-1])
			}
			if !isToken(key) || given && !isToken(value) {
				return Deflate{}, false
			}
			if _, twice := values[key]; twice {
				good = false
			}
			switch values[key] = value; key {
			case "server_no_context_takeover", "client_no_context_takeover":
				good = good && !given
			case "server_max_window_bits":
				good = good && strings.Contains(" 8 9 10 11 12 13 14 15 ", " "+value+" ") && given
			case "client_max_window_bits":
				good = good && (!given || strings.Contains(" 8 9 10 11 12 13 14 15 ", " "+value+" "))
			default:
				good = false
			}
		}
		if good && chosen.WindowBits == 0 {
			chosen = Deflate{WindowBits: 15}
			if bits, asked := values["server_max_window_bits"]; asked {
				chosen = Deflate{WindowBits: map[string]int{"8": 8, "9": 9, "10": 10, "11": 11, "12": 12, "13": 13, "14": 14, "15": 15}[bits], bitsAsked: true}
			}
		}
	}
	if !any {
		return Deflate{}, false
	}
	return chosen, true
}

func isToken(s string) bool { return s != "" && all([]byte(s), inToken) }

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			if i++; i == len(s) {
				return "" // the quote was escaped
			}
		} else if s[i] == '"' {
			return ""
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// splitOutside cuts at sep outside of quotes; false if a quote does not end.
func splitOutside(s string, sep byte) (parts []string, ok bool) {
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:]), !quoted
}
