package chat

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTheTableOfBoundsIsTheCode: what docs/limits.md says of this package.
func TestTheTableOfBoundsIsTheCode(t *testing.T) {
	page, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "## Behind the connections")
	table, _, ended := strings.Cut(table, "\n## ")
	if !found || !ended {
		t.Fatal("the page has no section of these bounds")
	}
	want := map[string]int{
		"entries of a round":           fanoutEntriesMax,
		"recipients of a command":      fanoutRecipientsMax,
		"commands under way":           fanFlyingMax,
		"member lists":                 fanListBytesMax,
		"entries kept":                 fanBufferTotalMax,
		"entries kept of a group":      fanBufferBytesMax,
		"sessions to bring up to date": followTasksMax,
		"channels at a resume":         followBytesMax,
		"earlier memberships":          memberSpansMax,
		"typing":                       typingMembersMax,
		"marks at rest":                marksMax,
		"requests on their own":        tasksMax,
		"changes":                      changesMax,
		"looks":                        looksMax,
		"devices":                      devicesMax,
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			continue
		}
		name := strings.TrimSpace(cells[1])
		if name == "Bound" || strings.HasPrefix(name, "-") {
			continue
		}
		value, err := strconv.Atoi(strings.TrimSpace(cells[3]))
		if code, ok := want[name]; err != nil || !ok || code != value {
			t.Errorf("%s: the page says %s, the code %d", name, strings.TrimSpace(cells[3]), code)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not on the page", name)
	}
}
