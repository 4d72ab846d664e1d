// Package result is the file a load-test run leaves behind: the format
// godwit-bench/v1, its reading, writing and checks. It knows numbers and their
// units, not how they were measured nor how they are drawn.
package result

// Format names the version of the file; a reader refuses any other.
const Format = "godwit-bench/v1"

// Run is one run of one scenario.
type Run struct {
	Format   string      `json:"format"`
	Scenario string      `json:"scenario"`
	About    string      `json:"about,omitempty"` // what the scenario does, for people
	RunID    string      `json:"run_id"`          // random; stands in every payload
	Started  string      `json:"started"`         // RFC 3339, UTC
	Command  string      `json:"command"`         // to repeat the run
	Commit   string      `json:"commit"`          // of the generator's source, "-dirty" when changed
	Settings Settings    `json:"settings"`
	Host     Host        `json:"host"` // of the generator
	Server   ServerFacts `json:"server"`
	Stages   []Stage     `json:"stages"`
	// Latencies by name: "send→stored", "send→delivered", "connect", "resume", "history" …
	Latencies map[string]Latency `json:"latencies"`
	Series    []Second           `json:"series"` // one a second, from the start of ramp
	Usage     Usage              `json:"usage"`
	Verify    Verify             `json:"verify"`
	SDK       *SDK               `json:"sdk,omitempty"`      // of scenarios with such sessions
	Slow      *Slow              `json:"slow,omitempty"`     // of scenarios with slow sessions
	Flap      *Flap              `json:"flap,omitempty"`     // of scenarios with flapping users
	Capacity  *Capacity          `json:"capacity,omitempty"` // of the run that confirmed a capacity
	Edges     *Edges             `json:"edges,omitempty"`    // of servers with edge processes
	Sweep     *Sweep             `json:"sweep,omitempty"`    // of scenarios that ramp up in steps
	// Targets are what the scenario was to reach; one that is missed fails the run,
	// and its figures stay true.
	Targets []Target `json:"targets,omitempty"`
	// Invalid says why the figures must not be used (the generator fell behind …); empty: valid.
	Invalid string `json:"invalid,omitempty"`
}

// Settings are what was asked for.
type Settings struct {
	Loop        string  `json:"loop"`     // "open" or "closed"
	Arrivals    string  `json:"arrivals"` // "poisson" or "uniform"
	Seed        uint64  `json:"seed"`
	Sessions    int     `json:"sessions"`
	SDKSessions int     `json:"sdk_sessions"` // beside Sessions
	Edges       int     `json:"edges"`        // edge processes of the server; 0: it holds the clients itself
	Rate        float64 `json:"rate_per_s"`   // operations per second of the measure stage
	Encoding    string  `json:"encoding"`
	Transport   string  `json:"transport,omitempty"` // "": websocket
	Tokens      string  `json:"tokens,omitempty"`    // "": eddsa, minted beforehand; hs256: by the agents
	PingSeconds float64 `json:"ping_s,omitempty"`    // between two pings of a session; 0: the server's default
	Agents      int     `json:"agents"`
	Corpus      string  `json:"corpus"`
	BodyP50     int     `json:"body_p50_bytes"`
	BodyP99     int     `json:"body_p99_bytes"`
	BodyMax     int     `json:"body_max_bytes"`
	SameMachine bool    `json:"same_machine"`   // generator and server share the machine
	Nice        int     `json:"generator_nice"` // priority of the generator while there was traffic
}

// Host describes a machine.
type Host struct {
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	MemoryMiB  int               `json:"memory_mib"`
	Kernel     string            `json:"kernel"`
	Go         string            `json:"go"`
	GOMAXPROCS int               `json:"gomaxprocs"`
	OpenFiles  uint64            `json:"open_files"`
	Sysctl     map[string]string `json:"sysctl"`
	FileSystem string            `json:"file_system"`
	FsyncP50US float64           `json:"fsync_p50_us"` // of 4 KiB overwritten in place
}

// ServerFacts are what the server says of itself.
type ServerFacts struct {
	URL     string `json:"url"`
	Version string `json:"version"`
	Store   string `json:"store"` // "wal+memory", later "segments" …
	Groups  int    `json:"groups"`
}

// Stage is a part of the run.
type Stage struct {
	Name      string  `json:"name"` // ramp, warm-up, measure, cool-down, verify
	Seconds   float64 `json:"seconds"`
	Scheduled uint64  `json:"scheduled"` // operations due
	Started   uint64  `json:"started"`   // operations begun
	Late      uint64  `json:"late"`      // begun over 10 ms after they were due
	Succeeded uint64  `json:"succeeded"`
	Refused   uint64  `json:"refused"`
	Unknown   uint64  `json:"unknown"`
	LateMaxMS float64 `json:"late_max_ms"`
}

// Latency is a distribution in microseconds, counted from the scheduled time
// (open loop) of operations of the measure stage.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p99_9_us"`
	P9999 float64 `json:"p99_99_us"`
	Max   float64 `json:"max_us"`
	// Buckets are (upper bound in µs, count) pairs of the histogram, ascending.
	Buckets [][2]float64 `json:"buckets"`
}

// Second is what happened in one second.
type Second struct {
	At        float64 `json:"at_s"`
	Stage     string  `json:"stage"`
	Scheduled uint64  `json:"scheduled"`
	Sent      uint64  `json:"sent"`
	Stored    uint64  `json:"stored"`
	Delivered uint64  `json:"delivered"`
	Sessions  int     `json:"sessions"`
	P50US     float64 `json:"p50_us"` // of the scenario's main latency
	P99US     float64 `json:"p99_us"`
	MaxUS     float64 `json:"max_us"`
	ServerRSS float64 `json:"server_rss_bytes"`
	ServerCPU float64 `json:"server_cpu_s"` // since the start of the run
}

// Usage sets the cost of server and generator apart.
type Usage struct {
	ServerCPUSeconds    float64 `json:"server_cpu_s"` // during measure
	ServerCPUPerMessage float64 `json:"server_cpu_us_per_message"`
	ServerRSSBytes      float64 `json:"server_rss_bytes"` // at the end of measure
	GeneratorCPUSeconds float64 `json:"generator_cpu_s"`
	GeneratorRSSBytes   float64 `json:"generator_rss_bytes"`
	// OthersCPUShare is how much of the machine's CPU time went to processes that
	// have nothing to do with the run, 0…1; of a run on one machine.
	OthersCPUShare float64 `json:"others_cpu_share"`
	// BytesPerConnection is the slope of the server's RSS over idle sessions, by
	// linear regression, with its R²; 0 when the scenario has no ramp of sessions.
	BytesPerConnection   float64 `json:"bytes_per_connection"`
	BytesPerConnectionR2 float64 `json:"bytes_per_connection_r2"`
	// Before and After are the server's /metrics around the measure stage; of
	// several servers the sums, gauges included.
	Before map[string]float64 `json:"metrics_before"`
	After  map[string]float64 `json:"metrics_after"`
	// Processes are the shares of the server's processes in the sums above.
	Processes []ProcessUsage `json:"processes,omitempty"`
}

// ProcessUsage is one of the server's processes.
type ProcessUsage struct {
	Name       string  `json:"name"`      // "engine", or the edge process's own
	CPUSeconds float64 `json:"cpu_s"`     // during measure
	RSSBytes   float64 `json:"rss_bytes"` // at the end of measure
	Sessions   int     `json:"sessions"`  // it held at the end of the ramp, as its clients know
}

// Edges is what went on between the edge processes of a server.
type Edges struct {
	// Crossed deliveries went from a session on one edge process to one on another,
	// Within stayed on one; a sender's own copies are not among them.
	Crossed uint64 `json:"crossed"`
	Within  uint64 `json:"within"`
}

// CrossedShare is the share of deliveries that crossed processes, 0…1.
func (e *Edges) CrossedShare() float64 {
	if e.Crossed+e.Within == 0 {
		return 0
	}
	return float64(e.Crossed) / float64(e.Crossed+e.Within)
}

// Sweep is what sessions cost while they were added in steps. The lines are by
// least squares over the points, per session.
type Sweep struct {
	Points []SweepPoint `json:"points"`
	User   Line         `json:"user_bytes"`          // resident memory of the server's processes
	Kernel Line         `json:"kernel_bytes"`        // slab and TCP buffers of the machine: both ends if SameMachine
	Client Line         `json:"client_bytes"`        // resident memory of the generator's processes
	All    Line         `json:"machine_bytes"`       // what the machine has less available since before the run
	CPU    *Line        `json:"cpu_cores,omitempty"` // of the server's processes; when steps were held
	// Stopped says why the ramp ended before every session was connected.
	Stopped string `json:"stopped,omitempty"`
}

// SweepPoint is a step of the ramp, at rest. Bytes of kernel and machine are
// counted from before the run.
type SweepPoint struct {
	Sessions       int     `json:"sessions"`
	ConnectSeconds float64 `json:"connect_s"` // from the begin of the step until its last session was open
	UserBytes      float64 `json:"user_bytes"`
	KernelBytes    float64 `json:"kernel_bytes"`
	ClientBytes    float64 `json:"client_bytes"`
	MachineBytes   float64 `json:"machine_bytes"`
	CPUCores       float64 `json:"cpu_cores"` // of the server's processes while held
	ClientCores    float64 `json:"client_cores"`
}

// Line is y = Intercept + Slope·sessions.
type Line struct {
	Slope     float64 `json:"slope"`
	Intercept float64 `json:"intercept"`
	R2        float64 `json:"r2"`
}

// Target is something the run was to reach.
type Target struct {
	Text     string `json:"text"`
	Measured string `json:"measured"`
	Met      bool   `json:"met"`
}

// SDK is what the sessions of the Go SDK did from the ramp to the end; none of
// it is among the stages, and their latencies have names of their own. Its verification is part of Verify.
type SDK struct {
	Sessions   int    `json:"sessions"`
	Transport  string `json:"transport,omitempty"` // "": websocket
	Offered    uint64 `json:"offered"`
	Acked      uint64 `json:"acked"`
	Delivered  uint64 `json:"delivered"` // to the partner and to the sender's own log
	Refused    uint64 `json:"refused"`
	Unknown    uint64 `json:"unknown"`
	ReadBack   uint64 `json:"read_back"`
	Cut        uint64 `json:"cut"`        // connections that the harness cut
	Reconnects uint64 `json:"reconnects"` // times a session was connected again
}

// Slow is what became of the sessions that stopped reading, and of the others.
type Slow struct {
	Silent int `json:"silent"` // sessions that neither read nor asked
	Asking int `json:"asking"` // sessions that kept asking and did not read
	// WindowFull sessions were held back by the server: more was stored for them
	// than it may send unacknowledged, and their connection stayed.
	WindowFull int `json:"window_full"`
	CutOff     int `json:"cut_off"` // sessions that the server ended while they were slow
	// CloseCodes is how often the server says that it ended a session in the
	// measure stage, by WebSocket close code, from its metrics.
	CloseCodes map[string]uint64 `json:"close_codes"`
	// Send→delivered of the other sessions: while all read, and beside the slow ones.
	OthersBefore Latency `json:"others_before"`
	OthersBeside Latency `json:"others_beside"`
	ToSlow       Latency `json:"to_slow"` // their own doing
}

// Flap is what came of users who come and go in every second phase of measure.
type Flap struct {
	Turns   uint64 `json:"turns"`   // times one came or went
	Skipped uint64 `json:"skipped"` // turns left out: he was still on his way
	// Frames of presence that came to watchers, the most of them in a second, and
	// those that the server says it sent in the measure stage.
	Frames        uint64 `json:"frames"`
	FramesPerSMax uint64 `json:"frames_per_s_max"`
	Sent          uint64 `json:"sent"`
	// Send→delivered of the others while nobody flaps, and beside it, and how many
	// cores the server used.
	Quiet         Latency `json:"quiet"`
	Flapping      Latency `json:"flapping"`
	QuietCores    float64 `json:"quiet_cores"`
	FlappingCores float64 `json:"flapping_cores"`
}

// Capacity is the search that the run belongs to. Rates are operations a second.
type Capacity struct {
	SLO     string  `json:"slo"`
	Latency string  `json:"latency"` // the one the SLO bounds
	Rate    float64 `json:"rate_per_s"`
	Failed  float64 `json:"failed_per_s"` // the lowest rate that failed; 0: none did
	// Verdict is "capacity" when the server broke the SLO above Rate; else the
	// search ended for another reason and Rate is only a lower bound.
	Verdict string          `json:"verdict"`
	Why     string          `json:"why,omitempty"` // it is no capacity
	Trials  []CapacityTrial `json:"trials"`
}

// Verdicts of a search.
const (
	VerdictCapacity  = "capacity"          // the server broke the SLO above the rate
	VerdictGenerator = "generator-limited" // the generator gave out first: no capacity
	VerdictDisturbed = "disturbed"         // other processes were busy when the SLO broke: no capacity
	VerdictBounded   = "bounded"           // no rate was tried above it: no capacity
)

// CapacityTrial is one rate that was tried.
type CapacityTrial struct {
	Phase string   `json:"phase"`
	Rate  float64  `json:"rate_per_s"`
	P50   float64  `json:"p50_us"`
	P99   float64  `json:"p99_us"`
	Lost  uint64   `json:"lost"`
	Unmet []string `json:"unmet"` // empty: the rate kept the SLO
}

// Verify is what the checks found; any loss, duplicate or disorder fails the run.
type Verify struct {
	Acked      uint64   `json:"acked"`
	Delivered  uint64   `json:"delivered"`
	ReadBack   uint64   `json:"read_back"` // entries compared with history at the end
	Lost       uint64   `json:"lost"`
	Duplicated uint64   `json:"duplicated"`
	Reordered  uint64   `json:"reordered"`
	Gaps       uint64   `json:"gaps"`
	Foreign    uint64   `json:"foreign"`  // payloads nobody sent
	Problems   []string `json:"problems"` // the first few, as sentences
}

// OK reports whether nothing was lost, doubled, reordered or made up.
func (v *Verify) OK() bool {
	return v.Lost+v.Duplicated+v.Reordered+v.Gaps+v.Foreign == 0 && len(v.Problems) == 0
}

// Missed returns the targets that were not reached.
func (r *Run) Missed() (missed []Target) {
	for _, t := range r.Targets {
		if !t.Met {
			missed = append(missed, t)
		}
	}
	return missed
}
