package scenario

import "time"

// Processes returns how many edge processes hold the clients, 0: the server
// itself, and how many agents drive them.
func (s *Scenario) Processes() (edges, agents int) {
	if s.PerProcess == 0 {
		return s.Edges, s.Agents
	}
	n := (s.Sessions + s.PerProcess - 1) / s.PerProcess
	return n, n
}

// validateProcesses checks who shares the sessions, and the steps of the ramp.
func (s *Scenario) validateProcesses(refuse func(bad bool, format string, args ...any)) {
	refuse(s.PerProcess < 0 || s.PerProcess > sessionsMax || s.PerProcess == 1, "per_process is %d; it must be 0, or 2 to %d.", s.PerProcess, sessionsMax)
	refuse(s.PerProcess > 0 && (s.Agents != 1 || s.Edges != 0), "per_process is %d; it decides how many agents and edges there are, leave those out.", s.PerProcess)
	if s.PerProcess >= 0 {
		edges, agents := s.Processes()
		refuse(agents < 1 || agents > agentsMax, "there are %d agents; there must be 1 to %d.", agents, agentsMax)
		refuse(edges < 0 || edges > edgesMax, "there are %d edges; there must be 0 to %d.", edges, edgesMax)
	}
	refuse(s.Ping != 0 && (s.Ping < Duration(time.Second) || s.Ping > Duration(40*time.Second)), "ping is %s; it must be 1s to 40s.", s.Ping)
	refuse(s.Wait < Duration(time.Second) || s.Wait > Duration(time.Minute) || s.Wait%Duration(time.Second) != 0, "wait is %s; it must be 1s to 1m, whole seconds.", s.Wait)
	refuse(s.Transport == TransportLongPoll && s.Encoding != EncodingProto, "encoding is %s; long-polls are asked for in proto.", s.Encoding)
	refuse(s.Steps < 0 || s.Steps > stepsMax || s.Steps > s.Sessions, "steps is %d; it must be 0 to %d, and each needs a session.", s.Steps, stepsMax)
	refuse(s.Hold < 0 || s.Hold > Duration(time.Minute), "hold is %s; it must be 0s to 1m.", s.Hold)
	refuse(s.Hold != 0 && s.Steps < 2, "hold is %s; it is the rest after a step of the ramp, and there are no steps.", s.Hold)
	refuse(s.MemoryMiB < 0 || s.MemoryMiB > memoryMax, "memory_mib is %d; it must be 0 to %d.", s.MemoryMiB, memoryMax)
	refuse(s.MemoryMiB != 0 && s.Steps < 2, "memory_mib is %d; it is looked at between steps of the ramp, and there are none.", s.MemoryMiB)
	refuse(s.Stages.Ramp != 0 && s.Steps < 2, "stages.ramp is %s; it is looked at between steps of the ramp, and there are none.", s.Stages.Ramp)
}

// Targets are what a run is to reach; one that is missed fails it. 0 asks for
// nothing.
type Targets struct {
	Sessions     int      `yaml:"sessions"`      // open at the end of the ramp, at least
	Ramp         Duration `yaml:"ramp"`          // all sessions open within
	Messages     int      `yaml:"messages"`      // of the measure stage delivered to their recipients, at least
	DeliverP99   Duration `yaml:"deliver_p99"`   // at most
	Resume       Duration `yaml:"resume"`        // every session that was cut is back within
	Crossed      float64  `yaml:"crossed"`       // share of the deliveries that went from one edge process to another: more
	SessionBytes int      `yaml:"session_bytes"` // of the server's memory per session, the slope: at most
	Straight     float64  `yaml:"straight"`      // R² of the lines of the server's and the kernel's memory over sessions: at least
}

func (t *Targets) validate(s *Scenario, refuse func(bad bool, format string, args ...any)) {
	refuse(t.Sessions < 0 || t.Sessions > s.Sessions, "targets.sessions is %d; it must be 0 to %d, what the run asks for.", t.Sessions, s.Sessions)
	for name, d := range map[string]Duration{"ramp": t.Ramp, "deliver_p99": t.DeliverP99, "resume": t.Resume} {
		refuse(d < 0 || d > stageMax, "targets.%s is %s; it must be 0s to %s.", name, d, stageMax)
	}
	refuse(t.Messages < 0, "targets.messages is %d; it must be 0 or more.", t.Messages)
	refuse(t.SessionBytes < 0, "targets.session_bytes is %d; it must be 0 or more.", t.SessionBytes)
	refuse(!(t.Crossed >= 0 && t.Crossed < 1), "targets.crossed is %g; it must be 0 to below 1.", t.Crossed)
	edges, _ := s.Processes()
	refuse(t.Crossed > 0 && (edges < 2 || !s.Sends()), "targets.crossed is %g; deliveries need at least two edge processes to cross between.", t.Crossed)
	refuse((t.Messages > 0 || t.DeliverP99 > 0) && !s.Sends(), "targets.messages and targets.deliver_p99 are of messages; the run sends none.")
	refuse(t.Resume > 0 && s.Kind != KindResume, "targets.resume is %s; only the kind resume cuts its sessions.", t.Resume)
	refuse(!(t.Straight >= 0 && t.Straight <= 1), "targets.straight is %g; it must be 0 to 1.", t.Straight)
	refuse((t.SessionBytes > 0 || t.Straight > 0) && s.Steps < 3, "targets.session_bytes and targets.straight are of a line, which needs three steps of the ramp.")
}
