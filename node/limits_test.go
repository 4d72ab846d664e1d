package node

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// limitsTable reads the rows of docs/limits.md that name a setting: its default.
func limitsTable(t *testing.T, page string) map[string]string {
	t.Helper()
	defaults := map[string]string{}
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 8 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		name := strings.Trim(strings.TrimSpace(cells[1]), "`")
		if _, twice := defaults[name]; twice {
			t.Errorf("%s stands in docs/limits.md twice", name)
		}
		defaults[name] = strings.TrimSpace(cells[3])
		if shown := strings.TrimSpace(cells[6]); !strings.HasPrefix(shown, "`Test") {
			t.Errorf("%s: no test shows it: %q", name, shown)
		}
	}
	return defaults
}

// limitsOf collects the settings that are limits, by path.
func limitsOf(cfg *Config) map[string]string {
	settings := map[string]string{}
	walk(reflect.ValueOf(cfg).Elem(), "", EnvPrefix, func(f field) { settings[f.path] = fmt.Sprint(yamlValue(f.value)) })
	return settings
}

// toldLimits are the limits of a node's connect reply, by name.
func toldLimits(t *testing.T, n *Node, token string) map[string]string {
	t.Helper()
	s := dial(t, n)
	s.write(`{"id":1,"connect":{"token":%q}}`, token)
	reply, ok := s.until(`"limits":{`)
	if !ok {
		t.Fatal("no connect reply")
	}
	_, fields, _ := strings.Cut(reply, `"limits":{`)
	fields, _, _ = strings.Cut(fields, "}")
	values := map[string]string{}
	for member := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(member, ":")
		values[strings.Trim(name, `"`)] = value
	}
	return values
}

// compareLimits says where the page, the defaults and the connect reply differ.
func compareLimits(table, settings, reply map[string]string) (problems []string) {
	notLimits := []string{"limits.watch"} // reserved: always 0
	for name, value := range table {
		if settings[name] != value {
			problems = append(problems, fmt.Sprintf("%s: the page says %q, the default is %q", name, value, settings[name]))
		}
	}
	for name := range settings {
		if (strings.HasPrefix(name, "limits.") || strings.HasPrefix(name, "policy.") && settings[name] != "all") && table[name] == "" {
			problems = append(problems, name+" is not on the page")
		}
	}
	for name, value := range reply {
		path := "limits." + name
		setting := func() string { return settings[path] }
		switch name {
		case "queue":
			path = "edge.outbound"
		case "members", "groups":
			path = "policy." + name
		case "edit":
			path = "policy.edit_window"
			setting = func() string { // in seconds
				var d Duration
				_ = d.UnmarshalText([]byte(settings[path]))
				return fmt.Sprint(int64(time.Duration(d) / time.Second))
			}
		}
		if path == notLimits[0] {
			continue
		}
		var size Size
		if size.UnmarshalText([]byte(setting())) != nil || fmt.Sprint(int64(size)) != value {
			problems = append(problems, fmt.Sprintf("%s: the connect reply says %s, the setting %q", name, value, settings[path]))
		}
	}
	return problems
}

func TestTheTableOfLimitsIsTheConfiguration(t *testing.T) {
	page, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	n := mustOpen(t, testConfig(t))
	cfg := Default()
	table, settings, reply := limitsTable(t, string(page)), limitsOf(&cfg), toldLimits(t, n, devToken(t, n.cfg))
	if len(table) < 20 || len(reply) < 13 {
		t.Fatalf("%d rows, %d limits in the connect reply", len(table), len(reply))
	}
	for _, problem := range compareLimits(table, settings, reply) {
		t.Error(problem)
	}

	table["limits.page"], reply["sessions"] = "99", "31"
	delete(table, "limits.body")
	if problems := compareLimits(table, settings, reply); len(problems) != 3 {
		t.Errorf("three planted differences, reported: %q", problems)
	}
}
