package load

import "testing"

func TestSessionsAndTheListOfEdgesMustAgree(t *testing.T) {
	list := []edgeProcess{{Node: "n-1", Sessions: 10}, {Node: "n-2", Sessions: 12}}
	f := func(first, second, elsewhere, sessions, beside, want int) {
		t.Helper()
		told := map[string]int{"n-1": first, "n-2": second, "n-9": elsewhere}
		if problems := compareNodes(told, list, sessions, beside); len(problems) != want {
			t.Errorf("%v of %d with %d beside: %q, want %d problems", told, sessions, beside, problems, want)
		}
	}
	f(10, 12, 0, 22, 0, 0)
	f(11, 11, 0, 22, 0, 2)
	f(10, 11, 0, 21, 1, 0)
	f(8, 12, 0, 20, 2, 0)
	f(8, 12, 0, 20, 1, 1)
	f(11, 9, 0, 20, 4, 1) // one more than it holds, whoever stands beside
	f(10, 11, 1, 22, 0, 2)
	f(10, 11, 1, 22, 1, 1)
	f(0, 0, 0, 22, 0, 3)
}

func TestNodesAreCountedByName(t *testing.T) {
	l := &loop{check: newChecker(1, 0, 4), sessions: make([]session, 4)}
	for i, name := range []string{"a", "b", "a", ""} {
		l.sessions[i].node, l.sessions[i].state = l.nodeOf(name), stateOpen
	}
	l.sessions[2].state = stateClosed
	if n := l.countNodes(); len(n) != 2 || n["a"] != 1 || n["b"] != 1 {
		t.Errorf("%v", n)
	}
	for _, pair := range [][2]int{{0, 1}, {0, 2}, {1, 2}, {0, 3}, {3, 3}} {
		l.countCrossing(l.sessions[pair[0]].node, l.sessions[pair[1]].node)
	}
	if l.edges.Crossed != 2 || l.edges.Within != 1 {
		t.Errorf("%+v", l.edges)
	}
}
