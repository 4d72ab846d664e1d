package chat

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// goldenLog is a log that an earlier build wrote, and the digests of the state that
// it had then.
type goldenLog struct {
	groups   int
	commands [][]memCommand // by raft group
	digests  []uint64
}

func readGolden(t *testing.T, path string) (g goldenLog) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Sscanf(path[strings.LastIndex(path, "-")+1:], "%d.golden", &g.groups); err != nil {
		t.Fatal(err)
	}
	g.commands, g.digests = make([][]memCommand, g.groups), make([]uint64, g.groups)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var group int
		var digest uint64
		var c memCommand
		var text string
		if _, err := fmt.Sscanf(lines.Text(), "digest %d %x", &group, &digest); err == nil {
			g.digests[group] = digest
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %s", &group, &c.stamp, &text); err != nil {
			t.Fatalf("%.60q: %v", lines.Text(), err)
		}
		if c.command, err = hex.DecodeString(text); err != nil {
			t.Fatal(err)
		}
		g.commands[group] = append(g.commands[group], c)
	}
	return g
}

// replay applies the log with a flush after each so many commands.
func (g *goldenLog) replay(batch int) *memStore {
	s := newMemStore(g.groups)
	for i, commands := range g.commands {
		for n, c := range commands {
			s.groups[i].apply(s.machine, c, nil)
			if n%batch == batch-1 || n == len(commands)-1 {
				s.machine.Flush(i, false)
			}
		}
	}
	return s
}

// TestLogsOfEarlierBuildsGiveTheStateTheyGaveThen, byte by byte and whatever the
// batches: else replicas of two builds, or one before and after an upgrade, differ.
func TestLogsOfEarlierBuildsGiveTheStateTheyGaveThen(t *testing.T) {
	for _, path := range []string{"testdata/level1-1.golden", "testdata/level1-8.golden"} {
		g := readGolden(t, path)
		n := 0
		for _, commands := range g.commands {
			n += len(commands)
		}
		if n < 400 {
			t.Fatalf("%s has %d commands", path, n)
		}
		for _, batch := range []int{1, 7, 1 << 20} {
			if got := g.replay(batch).digests(); fmt.Sprint(got) != fmt.Sprint(g.digests) {
				t.Errorf("%s in batches of %d: %x, was %x", path, batch, got, g.digests)
			}
		}
	}
}
