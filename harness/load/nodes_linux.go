package load

import "slices"

// nodesMax bounds the edge processes that sessions are told of.
const nodesMax = 1 << 12

// nodeOf returns what stands for an edge process in session.node; 0: nobody said.
func (l *loop) nodeOf(name string) uint16 {
	if name == "" {
		return 0
	}
	at := slices.Index(l.nodes, name)
	if at < 0 {
		if len(l.nodes) == nodesMax {
			l.check.problem("the connect replies name over %d edge processes", nodesMax)
			return 0
		}
		at = len(l.nodes)
		l.nodes = append(l.nodes, name)
	}
	return uint16(at + 1)
}

// countCrossing counts a delivery between sessions on these two nodes.
func (l *loop) countCrossing(from, to uint16) {
	switch {
	case from == 0 || to == 0:
	case from == to:
		l.edges.Within++
	default:
		l.edges.Crossed++
	}
}

func (l *loop) countNodes() map[string]int {
	nodes := map[string]int{}
	for i := range l.sessions {
		if s := &l.sessions[i]; s.state >= stateReplaying && s.node > 0 {
			nodes[l.nodes[s.node-1]]++
		}
	}
	return nodes
}
