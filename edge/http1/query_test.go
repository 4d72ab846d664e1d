package http1

import "testing"

func TestQueryValueDecodesAndRefusesRepeats(t *testing.T) {
	f := func(query, name, want string, found, ok bool) {
		t.Helper()
		r, _, err := parse(t, "GET /p?"+query+" HTTP/1.1\r\nHost: a\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		if got, f, o := r.QueryValue(nil, name); string(got) != want || f != found || o != ok {
			t.Errorf("%s of %q: %q %t %t", name, query, got, f, o)
		}
	}
	f("a=1&b=2", "b", "2", true, true)
	f("a=1", "b", "", false, true)
	f("", "b", "", false, true)
	f("b", "b", "", true, true)
	f("b=%40x+%7c%2F", "b", "@x+|/", true, true)
	f("bb=1&b=2", "b", "2", true, true)
	f("b=1&c=2&b=3", "b", "1", true, false)
	f("%62=1", "b", "", false, true)
}
