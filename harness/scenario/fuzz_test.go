package scenario

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// FuzzScenario: whatever is read is refused or stays the same scenario when it
// is written and read again.
func FuzzScenario(f *testing.F) {
	for _, name := range Names() {
		data, err := files.ReadFile("scenarios/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
		f.Add(data, true)
	}
	f.Add([]byte("a: &a [*a, *a]"), false)
	f.Add([]byte("name: x\nkind: chat\nsessions: 2\nrate_per_s: .inf\n"), false)
	f.Add([]byte("quick: {quick: {}}"), true)
	f.Fuzz(func(t *testing.T, data []byte, quick bool) {
		s, err := Parse(data, quick)
		if err != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("read, and then: %v", err)
		}
		written, err := yaml.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(written, false)
		if err != nil || again != s {
			t.Fatalf("%+v\nis read again as\n%+v, %v", s, again, err)
		}
	})
}
