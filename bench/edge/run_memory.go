package main

import "fmt"

// memoryName names a server's connections of one kind.
func memoryName(name string, k kind) string { return name + " " + string(k) }

// measureMemory reads the servers' memory with idle connections, in steps, one
// server after the other.
func (r *runner) measureMemory() error {
	if err := r.memoryOf(nameEdge, kindSession); err != nil {
		return err
	}
	if err := r.memoryOf(nameEdge, kindPoll); err != nil {
		if r.interrupted.Load() {
			return err
		}
		delete(r.measured.memory, memoryName(nameEdge, kindPoll))
		r.measured.reasons[figurePoll] = err.Error()
		r.logf("held polls were not measured: %v", err)
		r.killAll()
	}
	for _, name := range r.servers {
		k := kindEcho
		switch name {
		case nameEdge, nameFloor: // measured above; has nothing of its own
			continue
		case nameGnet:
			k = kindRaw
		}
		if err := r.memoryOf(name, k); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) memoryOf(name string, k kind) error {
	// The first connections take what the process needs once.
	s, err := r.sit(name, k, r.memorySteps[0]/10)
	defer r.leave(s)
	if err != nil {
		return err
	}
	var points []memoryPoint
	for _, n := range r.memorySteps {
		if err := s.connect(n); err != nil {
			return err
		}
		a, err := s.server.call(request{Op: opMemory, Held: heldSpec{Kind: k, Count: n}})
		if err != nil {
			return err
		}
		points = append(points, memoryPoint{Connections: n, Resident: a.Resident})
	}
	r.measured.memory[memoryName(name, k)] = points
	r.logf("memory  %-8s %-8s %6.0f B each, %v", name, k, slope(points), points)
	if k != kindSession {
		return nil
	}
	a, err := s.server.call(request{Op: opCollect})
	if err != nil {
		return fmt.Errorf("full collections: %w", err)
	}
	r.measured.collect = a.Collect
	return nil
}
